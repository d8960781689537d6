import pytest
import torch
from torch.utils.data import TensorDataset

from lightning_nas.datamodules.resumable_loader import ResumableLoader, training_loader
from lightning_nas.datamodules.training_place import TrainingPlace


def make(count: int, place: TrainingPlace | None = None, batch_size: int = 4, **options: bool) -> ResumableLoader:
    data = TensorDataset(torch.arange(count))
    return training_loader(data, place or TrainingPlace(), batch_size=batch_size, seed=0, **options)


def batches(loader: ResumableLoader) -> list[list[int]]:
    return [batch.tolist() for (batch,) in loader]


@pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (9, [4, 4]), (10, [4, 4, 2]), (3, [3])])
def test_only_a_single_last_sample_is_dropped(count: int, sizes: list[int]) -> None:
    loader = make(count)
    assert len(loader) == len(sizes)
    assert [len(batch) for batch in batches(loader)] == sizes


def test_single_last_sample_of_a_rank_is_dropped() -> None:
    assert [len(batch) for batch in batches(make(10, TrainingPlace(world=2)))] == [4]


def test_drop_last() -> None:
    assert [len(batch) for batch in batches(make(10, drop_last=True))] == [4, 4]


def test_goes_on_inside_an_epoch() -> None:
    whole = batches(make(22, TrainingPlace(epoch=1)))
    assert batches(make(22, TrainingPlace(epoch=1, batch=2))) == whole[2:]
    # 6 batches an epoch: this is the shorter stream, 8 batches into the epoch of the longer one.
    loader = make(22, TrainingPlace(epoch=1, batch=8))
    assert batches(loader) == whole[2:]
    assert batches(loader) == whole


def test_state_is_empty() -> None:
    loader = make(8)
    loader.load_state_dict(loader.state_dict())
    assert loader.state_dict() == {}


def test_does_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    batches(make(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few() -> None:
    with pytest.raises(ValueError, match="at least 2 training samples per process but got 2 for 2 processes"):
        make(2, TrainingPlace(world=2))
