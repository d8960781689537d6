"""The batches on which alphas step."""

from collections.abc import Iterator
from typing import Any, cast

from torch.utils.data import DataLoader, Subset, SubsetRandomSampler

from lightning_nas.datamodules.resumable_loader import ResumableLoader
from lightning_nas.datamodules.resumable_sampler import ResumableSampler
from lightning_nas.datamodules.taken_over import check_takeable, take_over
from lightning_nas.datamodules.training_place import TrainingPlace
from lightning_nas.seeding import derive_seed

PASSES = 2**32  # more than any epoch has


class ArchitectureStream:
    """A loader of the user's whose batches depend on the epoch and their number in it only.

    So a resumed run sees what an uninterrupted one does. The order is a new one in every epoch, so that all examples
    have their turn when an epoch needs only a part of them; a loader that is shorter than an epoch starts again, in
    another order. The batches number k of all processes together are batch number k of one process with a larger batch
    size.

    Args:
        loader: The loader; its data, batch size and settings are taken over; it is always shuffled.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        TypeError: If the order of the loader cannot be taken over.
        ValueError: If there is no whole batch in it.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, rank: int = 0, world: int = 1) -> None:
        self._source, self._data = loader, loader.dataset
        if isinstance(loader.sampler, SubsetRandomSampler) and loader.batch_size is not None:
            self._data = Subset(loader.dataset, list(loader.sampler.indices))  # shuffled, it is the same
        else:
            check_takeable(loader, "the architecture loader")
        self._seed = derive_seed(seed, "architecture")
        self._rank, self._world = rank, world
        self._loader = self._starting_at(0, 0)
        self._iterator: Iterator[Any] = iter(())
        self._next = (-1, 0)
        if not len(self._loader):
            raise ValueError(
                f"Expected an architecture loader with at least one batch per process but got {len(loader.dataset)} "  # type: ignore[arg-type]  # check_takeable saw to its length
                f"examples for {world} processes and batches of {loader.batch_size} with drop_last=True"
            )

    def batch(self, epoch: int, number: int) -> Any:
        """Return a batch of an epoch; asked for in order, each is loaded once."""
        passes, offset = divmod(number, len(self._loader))
        if offset == 0 or self._next != (epoch, number):
            self._iterator = self._open(epoch * PASSES + passes, offset)
        self._next = (epoch, number + 1)
        return next(self._iterator)

    def _open(self, number: int, offset: int) -> Iterator[Any]:
        """Start a pass over the data, or go on with it from a batch."""
        if offset:
            self._loader = self._starting_at(number, offset)
        else:  # the same loader, whose workers may be persistent
            cast("ResumableSampler", self._loader.sampler).set_epoch(number)
        if self._loader.generator is not None:  # workers are seeded from it
            self._loader.generator.manual_seed(derive_seed(self._seed, number))
        return iter(self._loader)

    def _starting_at(self, number: int, offset: int) -> ResumableLoader:
        place = TrainingPlace(number, offset, self._rank, self._world)
        return take_over(self._source, self._data, place, self._seed, shuffle=True)
