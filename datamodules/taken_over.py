"""Loaders of the user's, taken over: the same data and settings, in an order that a resumed run repeats."""

from typing import Any

from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from lightning_nas.datamodules.resumable_loader import ResumableLoader, training_loader
from lightning_nas.datamodules.training_place import TrainingPlace


def check_takeable(loader: DataLoader[Any], name: str) -> None:
    """Raise a TypeError unless the order of a loader can be taken over.

    Args:
        loader: The user's loader.
        name: What messages call it.
    """
    if isinstance(loader.dataset, IterableDataset):
        raise TypeError(f"Expected {name} to have a data set with a length but got an IterableDataset.")
    if loader.batch_size is None:
        raise TypeError(f"Expected {name} to have a `batch_size` but got a custom batch sampler.")
    if not isinstance(loader.sampler, RandomSampler | SequentialSampler | DistributedSampler):
        raise TypeError(
            f"Expected {name} to be shuffled or sequential but got the sampler {type(loader.sampler).__name__}, whose "
            "order cannot be repeated for part of the data, in several processes or after an interruption."
        )


def loader_options(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return the settings of a loader that do not depend on the data set."""
    names = ("collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn", "prefetch_factor")
    more = ("persistent_workers", "multiprocessing_context")
    return {name: getattr(loader, name) for name in (*names, *more)}


def take_over(
    loader: DataLoader[Any], dataset: Dataset[Any], place: TrainingPlace, seed: int, *, shuffle: bool | None = None
) -> ResumableLoader:
    """Return a training stream with the settings of a loader that passed ``check_takeable``.

    Args:
        loader: The user's loader.
        dataset: Its data set, or a part of it.
        place: Where training stands.
        seed: Seed of the order.
        shuffle: Whether to shuffle; by default as the user's loader does.
    """
    if shuffle is None:
        shuffle = not isinstance(loader.sampler, SequentialSampler) and getattr(loader.sampler, "shuffle", True)
    return training_loader(
        dataset,
        place,
        batch_size=loader.batch_size or 1,
        seed=seed,
        shuffle=shuffle,
        drop_last=loader.drop_last,
        **loader_options(loader),
    )
