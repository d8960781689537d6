"""The order of the windows of a text."""

from lightning_nas.datamodules.resumable_sampler import ResumableSampler
from lightning_nas.datamodules.text_windows import TextWindows


class TextWindowSampler(ResumableSampler):
    """The windows of an epoch in order, by their numbers.

    Every process reads all windows of its own columns, so there is nothing to distribute; being a
    ``DistributedSampler`` keeps Lightning from doing so.

    Args:
        windows: What is read.
        epoch: Epoch of the first pass.
        start: How many windows the first pass leaves out: those trained on before an interruption.
    """

    def __init__(self, windows: TextWindows, *, epoch: int = 0, start: int = 0) -> None:
        super().__init__(windows, shuffle=False, epoch=epoch, start=start)

    def order(self) -> list[int]:
        """Return the numbers of this epoch's windows."""
        count = len(self.dataset)
        return list(range(self.epoch * count, (self.epoch + 1) * count))
