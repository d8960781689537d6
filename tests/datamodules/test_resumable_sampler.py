import pytest
from torch.utils.data import DistributedSampler

from lightning_nas.datamodules.resumable_sampler import ResumableSampler


def test_order_depends_on_seed_and_epoch_only() -> None:
    data = range(50)
    sampler = ResumableSampler(data, seed=1, epoch=4)
    first = list(sampler)
    assert sorted(first) == list(data)
    assert list(sampler) == first
    sampler.set_epoch(5)
    fifth = list(sampler)
    assert fifth != first
    assert fifth == list(ResumableSampler(data, seed=1, epoch=5))
    assert list(ResumableSampler(data, seed=2, epoch=4)) not in (first, fifth)


def test_without_shuffle() -> None:
    assert list(ResumableSampler(range(5), shuffle=False, epoch=3)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [48, 50, 51])
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_of_one_process(count: int, world: int) -> None:
    size = 4
    ranks = [list(ResumableSampler(range(count), num_replicas=world, rank=rank, epoch=2)) for rank in range(world)]
    single = list(ResumableSampler(range(count), epoch=2))
    padded = single + single[: -count % world]
    assert {len(mine) for mine in ranks} == {len(padded) // world}
    for start in range(0, len(ranks[0]), size):
        together = sorted(index for mine in ranks for index in mine[start : start + size])
        assert together == sorted(padded[start * world : (start + size) * world])


def test_more_ranks_than_samples() -> None:
    assert [list(ResumableSampler(range(2), num_replicas=5, rank=rank, shuffle=False)) for rank in range(5)] == [
        [0],
        [1],
        [0],
        [1],
        [0],
    ]


def test_start_applies_to_the_first_pass_of_its_epoch() -> None:
    whole = list(ResumableSampler(range(20), epoch=3))
    sampler = ResumableSampler(range(20), epoch=3, start=8)
    assert len(sampler) == 20
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole
    later = ResumableSampler(range(20), epoch=3, start=8)
    later.set_epoch(4)
    assert list(later) == list(ResumableSampler(range(20), epoch=4))


def test_lightning_leaves_it_alone() -> None:
    assert isinstance(ResumableSampler(range(4)), DistributedSampler)


def test_wrong_rank() -> None:
    with pytest.raises(ValueError, match="Invalid rank 2"):
        ResumableSampler(range(4), num_replicas=2, rank=2)
