"""Loaders of training batches that go on where an interrupted run stopped."""

import math
from typing import Any

from torch.utils.data import DataLoader, Dataset

from lightning_nas.datamodules.resumable_sampler import ResumableSampler
from lightning_nas.datamodules.training_place import TrainingPlace
from lightning_nas.seeding import make_generator


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` that tells Lightning that training can be resumed in the middle of an epoch.

    Its state is empty: the place follows from the Trainer's counters, which the checkpoint holds (see
    ``TrainingPlace``). Lightning warns about loaders without these two methods.
    """

    def state_dict(self) -> dict[str, Any]:
        """Return nothing, because there is nothing to keep."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accept what ``state_dict`` returned."""


def training_loader(
    dataset: Dataset[Any],
    place: TrainingPlace,
    *,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    drop_last: bool = False,
    **options: Any,
) -> ResumableLoader:
    """Return the loader of one training stream.

    A last batch that is not full is kept, unless it is a single sample: batch normalisation fails on that.

    Args:
        dataset: A data set with a length.
        place: Where training stands.
        batch_size: Samples a batch and process.
        seed: Seed of the order.
        shuffle: False keeps the order of the data set.
        drop_last: Leave out any last batch that is not full.
        options: More arguments of ``DataLoader``.

    Raises:
        ValueError: If there are fewer than two samples for each process.
    """
    size = len(dataset)  # type: ignore[arg-type]  # Dataset does not promise the length that ours have
    samples = math.ceil(size / place.world)
    if samples < 2:
        raise ValueError(
            f"Expected at least 2 training samples per process but got {size} for {place.world} processes."
        )
    drop_last = drop_last or samples % batch_size == 1
    batches = samples // batch_size if drop_last else math.ceil(samples / batch_size)
    # The shorter of two streams starts again within an epoch, hence the remainder.
    start = place.batch % max(batches, 1) * batch_size
    sampler = ResumableSampler(
        dataset,  # type: ignore[arg-type]  # see above
        num_replicas=place.world,
        rank=place.rank,
        shuffle=shuffle,
        seed=seed,
        epoch=place.epoch,
        start=start,
    )
    # Without its own generator a loader draws from the global one, at moments that differ in a resumed run.
    generator = make_generator(seed, "loader")
    return ResumableLoader(
        dataset, batch_size=batch_size, sampler=sampler, drop_last=drop_last, generator=generator, **options
    )
