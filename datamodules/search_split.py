"""Any data module as the two streams of a search."""

from typing import Any

from torch.utils.data import DataLoader, Subset

from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.checks import check_at_least, check_fraction
from lightning_nas.datamodules.image_data_module import ImageDataModule
from lightning_nas.datamodules.splitting import split_indices
from lightning_nas.datamodules.taken_over import check_takeable, loader_options, take_over
from lightning_nas.datamodules.training_place import TrainingPlace
from lightning_nas.seeding import derive_seed

_STREAMS = ("weights", "architecture")


class SearchSplit(pl.LightningDataModule):
    """Split the training data of any data module into a part for the weights and one for the architecture.

    The training batch becomes ``{"weights": batch, "architecture": batch}``; validation runs through the architecture
    part. Everything else is the wrapped module's: its data set (with its transforms, in validation too), the settings
    of its training loader and its hooks. Its own validation data are not used.

    Args:
        datamodule: The data module to wrap. Its ``train_dataloader`` must return one ``DataLoader``, shuffled or not,
            over a data set with a length.
        fraction: Share of the training data for the weights.
        seed: Seed of the split and of the order.
        shuffle: Split at random; False splits by order, first the weights' part.

    Raises:
        TypeError: If ``datamodule`` is no data module or has two streams already.
        ValueError: If ``fraction`` is not between 0 and 1.
    """

    def __init__(
        self, datamodule: pl.LightningDataModule, fraction: float = 0.5, seed: int = 0, shuffle: bool = True
    ) -> None:
        if not isinstance(datamodule, pl.LightningDataModule):
            raise TypeError(f"Expected `datamodule` to be a LightningDataModule but got {type(datamodule).__name__}.")
        if isinstance(datamodule, SearchSplit) or getattr(datamodule, "search", False) is True:
            raise TypeError(
                f"Expected `datamodule` with one training stream but got {type(datamodule).__name__} in search mode; "
                "pass it search=False, or use it without SearchSplit."
            )
        check_fraction("fraction", fraction)
        self.datamodule = datamodule
        super().__init__()
        self.fraction = fraction
        self.seed = seed
        self.shuffle = shuffle
        self.prepare_data_per_node = datamodule.prepare_data_per_node
        self.allow_zero_length_dataloader_with_multiple_devices = (
            datamodule.allow_zero_length_dataloader_with_multiple_devices
        )

    @property
    def trainer(self) -> pl.Trainer | None:
        """The Trainer, which is the wrapped module's too."""
        return self.datamodule.trainer

    @trainer.setter
    def trainer(self, trainer: pl.Trainer | None) -> None:
        self.datamodule.trainer = trainer

    @property
    def classes(self) -> Any:
        """Number of classes, if the wrapped module says so."""
        wrapped: Any = self.datamodule
        return wrapped.classes

    @property
    def image_shape(self) -> Any:
        """Channels, height and width, if the wrapped module says so."""
        wrapped: Any = self.datamodule
        return wrapped.image_shape

    def train_dataloader(self) -> CombinedLoader:
        """Return both streams; the shorter one starts again within an epoch.

        Raises:
            TypeError: If the wrapped module's loader cannot be split.
            ValueError: If a part would hold fewer than two samples.
        """
        loader, place = self._wrapped_loader(), TrainingPlace.of(self.trainer)
        streams = zip(_STREAMS, self._split(loader), strict=True)
        return CombinedLoader(
            {name: take_over(loader, part, place, derive_seed(self.seed, name)) for name, part in streams},
            "max_size_cycle",
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the architecture part, in order.

        Raises:
            TypeError: If the wrapped module's loader cannot be split.
            ValueError: If a part would hold fewer than two samples.
        """
        loader = self._wrapped_loader()
        _, architecture = self._split(loader)
        return DataLoader(architecture, batch_size=loader.batch_size, **loader_options(loader))

    def test_dataloader(self) -> Any:
        """Return the wrapped module's test loader."""
        return self.datamodule.test_dataloader()

    def predict_dataloader(self) -> Any:
        """Return the wrapped module's prediction loader."""
        return self.datamodule.predict_dataloader()

    def _wrapped_loader(self) -> DataLoader[Any]:
        loader, name = self.datamodule.train_dataloader(), type(self.datamodule).__name__
        if not isinstance(loader, DataLoader):
            raise TypeError(
                f"Expected {name}.train_dataloader() to return a DataLoader but got {type(loader).__name__}."
            )
        check_takeable(loader, f"{name}'s training loader")
        check_at_least(f"batch_size of {name}", loader.batch_size, 2, "batch normalisation needs two examples")
        return loader

    def _split(self, loader: DataLoader[Any]) -> tuple[Subset[Any], Subset[Any]]:
        count = len(loader.dataset)  # type: ignore[arg-type]  # Dataset does not promise a length
        first, second = split_indices(count, self.fraction, self.seed if self.shuffle else None, least=2)
        return Subset(loader.dataset, first), Subset(loader.dataset, second)

    def prepare_data(self) -> None:
        """Let the wrapped module prepare its data."""
        self.datamodule.prepare_data()

    def setup(self, stage: str) -> None:
        """Let the wrapped module set up a stage."""
        self.datamodule.setup(stage)

    def teardown(self, stage: str) -> None:
        """Let the wrapped module clean up."""
        self.datamodule.teardown(stage)

    def on_exception(self, exception: BaseException) -> None:
        """Tell the wrapped module of an exception."""
        self.datamodule.on_exception(exception)

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapped module's state."""
        return self.datamodule.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the wrapped module its state back."""
        self.datamodule.load_state_dict(state_dict)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Call the wrapped module's hook, for each of two batches."""
        return self._transfer("on_before_batch_transfer", batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Call the wrapped module's hook, for each of two batches."""
        return self._transfer("transfer_batch_to_device", batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Call the wrapped module's hook, for each of two batches."""
        return self._transfer("on_after_batch_transfer", batch, dataloader_idx)

    def _transfer(self, name: str, batch: Any, *rest: Any) -> Any:
        if getattr(type(self.datamodule), name) is getattr(pl.LightningDataModule, name) and self.trainer is not None:
            # Lightning asks the LightningModule when the data module has no such hook; this wrapper has them all.
            return getattr(self.trainer.lightning_module, name)(batch, *rest)
        hook = getattr(self.datamodule, name)
        two = isinstance(batch, dict) and set(batch) == set(_STREAMS)
        # An ImageDataModule gets the dict as it is and gives each stream random numbers of its own.
        if two and not isinstance(self.datamodule, ImageDataModule):
            return {stream: hook(part, *rest) for stream, part in batch.items()}
        return hook(batch, *rest)
