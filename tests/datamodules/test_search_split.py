from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.datamodules.digits_data_module import DigitsDataModule
from lightning_nas.datamodules.resumable_loader import ResumableLoader
from lightning_nas.datamodules.search_split import SearchSplit

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's CombinedLoader, torch 2.14

DATA = TensorDataset(torch.arange(20))


def stack(samples: list[tuple[Tensor]]) -> Tensor:
    return torch.stack([sample for (sample,) in samples])


class Wrapped(pl.LightningDataModule):
    """Records which hooks are called."""

    def __init__(self, loader: object = None, **options: Any) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.loader = loader
        self.options = {"batch_size": 4, "shuffle": True, "collate_fn": stack, **options}
        self.classes = 7

    def prepare_data(self) -> None:
        self.calls.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.calls.append(("setup", stage))

    def teardown(self, stage: str) -> None:
        self.calls.append(("teardown", stage))

    def on_exception(self, exception: BaseException) -> None:
        self.calls.append(exception)

    def train_dataloader(self) -> Any:
        return DataLoader(DATA, **self.options) if self.loader is None else self.loader

    def test_dataloader(self) -> Any:
        return "test"

    def predict_dataloader(self) -> Any:
        return "predict"

    def state_dict(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.calls.append(state_dict)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch + 1

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch.to(device) * 2

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch.float() + dataloader_idx


class Numbers(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(5))


def streams(split: SearchSplit) -> dict[str, ResumableLoader]:
    return cast(dict[str, ResumableLoader], split.train_dataloader().iterables)


def numbers(loader: DataLoader[Any]) -> list[int]:
    return [number for batch in loader for number in batch.tolist()]


def test_parts_at_random() -> None:
    split = SearchSplit(Wrapped(), fraction=0.6, seed=3)
    weights, architecture = (numbers(loader) for loader in streams(split).values())
    assert (len(weights), len(architecture)) == (12, 8)
    assert sorted(weights + architecture) == list(range(20))
    assert sorted(weights) != list(range(12))
    assert sorted(numbers(split.val_dataloader())) == sorted(architecture)
    other = SearchSplit(Wrapped(), fraction=0.6, seed=4)
    assert sorted(numbers(streams(other)["weights"])) != sorted(weights)


def test_parts_by_order() -> None:
    split = SearchSplit(Wrapped(), fraction=0.6, shuffle=False)
    weights, architecture = (numbers(loader) for loader in streams(split).values())
    assert sorted(weights) == list(range(12))
    assert weights != sorted(weights)
    assert sorted(architecture) == list(range(12, 20)) == numbers(split.val_dataloader())


def test_sequential_loader_stays_sequential() -> None:
    split = SearchSplit(Wrapped(shuffle=False), shuffle=False)
    assert numbers(streams(split)["weights"]) == list(range(10))


def test_batches_are_a_dict() -> None:
    loader = SearchSplit(Wrapped(), fraction=0.6).train_dataloader()
    assert isinstance(loader, CombinedLoader)
    batch, _, _ = next(iter(loader))
    assert {name: tuple(part.shape) for name, part in batch.items()} == {"weights": (4,), "architecture": (4,)}
    assert len(list(loader)) == 3


def test_settings_of_the_loader_are_kept() -> None:
    def start(_: int) -> None: ...

    wrapped = Wrapped(num_workers=1, persistent_workers=True, drop_last=True, worker_init_fn=start, batch_size=3)
    split = SearchSplit(wrapped)
    for loader in (*streams(split).values(), split.val_dataloader()):
        assert (loader.batch_size, loader.num_workers, loader.persistent_workers) == (3, 1, True)
        assert (loader.collate_fn, loader.worker_init_fn, loader.pin_memory) == (stack, start, False)
    assert [loader.drop_last for loader in streams(split).values()] == [True, True]
    assert [len(loader) for loader in streams(split).values()] == [3, 3]


def test_single_last_sample_is_dropped() -> None:
    assert len(numbers(streams(SearchSplit(Wrapped(batch_size=3)))["weights"])) == 9


def test_hooks_are_passed_on() -> None:
    wrapped = Wrapped()
    split = SearchSplit(wrapped)
    error = KeyError("x")
    split.prepare_data()
    split.setup("fit")
    split.on_exception(error)
    split.load_state_dict({"a": 1})
    split.teardown("fit")
    assert wrapped.calls == ["prepare_data", ("setup", "fit"), error, {"a": 1}, ("teardown", "fit")]
    assert split.state_dict() == {"calls": 5}
    assert (split.test_dataloader(), split.predict_dataloader()) == ("test", "predict")


def test_transfer_hooks_see_single_batches() -> None:
    split, device = SearchSplit(Wrapped()), torch.device("cpu")
    two = {"weights": torch.tensor([1]), "architecture": torch.tensor([2])}
    for batch, expected in ((two, {"weights": [4.0], "architecture": [6.0]}), (two["weights"], [4.0])):
        moved = split.transfer_batch_to_device(split.on_before_batch_transfer(batch, 0), device, 0)
        result = split.on_after_batch_transfer(moved, 0)
        assert ({k: v.tolist() for k, v in result.items()} if isinstance(result, dict) else result.tolist()) == expected
    assert split.on_after_batch_transfer(torch.tensor([1]), 5).tolist() == [6.0]


def test_dict_with_other_keys_is_one_batch() -> None:
    class Texts(Wrapped):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch["tokens"]

    assert SearchSplit(Texts()).on_after_batch_transfer({"tokens": 3}, 0) == 3


class Plain(pl.LightningDataModule):
    """A data module without transfer hooks."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(DATA, batch_size=4, shuffle=True)


class Model(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.keys: list[list[str]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.keys.append(list(batch))
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class HookedModel(Model):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {f"hooked {key}": part for key, part in batch.items()} if isinstance(batch, dict) else batch


def fit(model: pl.LightningModule, data: pl.LightningDataModule) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    assert data.trainer is trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_plain_module_in_a_trainer() -> None:
    model, wrapped = Model(), Plain()
    fit(model, SearchSplit(wrapped))
    assert model.keys == [["weights", "architecture"]] * 3
    assert wrapped.trainer is not None


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:You have overridden `on_after_batch_transfer` in both")
def test_hook_of_the_model_is_used_when_the_data_module_has_none() -> None:
    model = HookedModel()
    fit(model, SearchSplit(Plain()))
    assert model.keys == [["hooked weights", "hooked architecture"]] * 3


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_image_data_module_augments_both_streams() -> None:
    seen: list[dict[str, Any]] = []

    class Watching(Model):
        def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
            seen.append(batch)
            return super().training_step(batch, batch_idx)

    def make(search: bool) -> DigitsDataModule:
        return DigitsDataModule(batch_size=16, val_fraction=0, max_train_images=60, search=search)

    fit(Watching(), SearchSplit(make(False)))
    fit(Watching(), make(True))
    # Wrapped or by itself: the same split, order and pixels.
    assert len(seen) == 4
    for wrapped, own in ((seen[0], seen[2]), (seen[1], seen[3])):
        for stream in ("weights", "architecture"):
            assert torch.equal(wrapped[stream][0], own[stream][0])
            assert torch.equal(wrapped[stream][1], own[stream][1])


def test_facts_of_the_wrapped_module() -> None:
    wrapped = Wrapped()
    wrapped.prepare_data_per_node = False
    wrapped.allow_zero_length_dataloader_with_multiple_devices = True
    split = SearchSplit(wrapped)
    assert (split.classes, split.prepare_data_per_node) == (7, False)
    assert split.allow_zero_length_dataloader_with_multiple_devices
    with pytest.raises(AttributeError, match="image_shape"):
        _ = split.image_shape
    assert SearchSplit(DigitsDataModule()).image_shape == (1, 8, 8)


@pytest.mark.parametrize("wrapped", [DigitsDataModule(search=True), SearchSplit(Plain())])
def test_already_in_search_mode(wrapped: pl.LightningDataModule) -> None:
    with pytest.raises(TypeError, match=f"with one training stream but got {type(wrapped).__name__} in search mode"):
        SearchSplit(wrapped)


def test_no_data_module() -> None:
    with pytest.raises(TypeError, match="Expected `datamodule` to be a LightningDataModule but got list"):
        SearchSplit([])  # type: ignore[arg-type]  # the error is what is tested


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5])
def test_wrong_fraction(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"Expected `fraction` to be a share with 0 < fraction < 1 but got {fraction}"):
        SearchSplit(Wrapped(), fraction)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([1, 2], r"Expected Wrapped.train_dataloader\(\) to return a DataLoader but got list"),
        (DataLoader(Numbers()), "to have a data set with a length but got an IterableDataset"),
        (
            DataLoader(DATA, batch_sampler=BatchSampler(range(20), 2, False)),
            "to have a `batch_size` but got a custom batch sampler",
        ),
        (DataLoader(DATA, batch_size=None), "to have a `batch_size` but got a custom batch sampler"),
        (
            DataLoader(DATA, 2, sampler=WeightedRandomSampler([1.0] * 20, 20)),
            "to be shuffled or sequential but got the sampler WeightedRandomSampler",
        ),
    ],
)
def test_loaders_that_cannot_be_split(loader: object, message: str) -> None:
    split = SearchSplit(Wrapped(loader))
    for build in (split.train_dataloader, split.val_dataloader):
        with pytest.raises(TypeError, match=message):
            build()


def test_batches_of_one_are_refused() -> None:
    split = SearchSplit(Wrapped(DataLoader(DATA, 1)))
    with pytest.raises(ValueError, match=r"Expected `batch_size of Wrapped` to be at least 2 \(batch norm.* but got 1"):
        split.train_dataloader()


def test_too_few_samples() -> None:
    with pytest.raises(ValueError, match="both parts to hold at least 2 samples but got 19 and 1"):
        SearchSplit(Wrapped(), 0.95).train_dataloader()
