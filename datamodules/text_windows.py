"""The windows of a text, one after the other."""

from functools import lru_cache

from torch.utils.data import Dataset

from lightning_nas.datamodules.text_window_sizes import Jitter, window_sizes
from lightning_nas.tasks.text_batch import TextBatch


class TextWindows(Dataset[TextBatch]):
    """Windows of columns of text; the tensors are views, nothing is copied.

    Windows are numbered through all epochs: an epoch has ``len(windows)`` of them, so the first of epoch e is number
    ``e * len(windows)``. That number says all, whatever was read before.

    Args:
        columns: The whole text as one window.
        bptt: See ``window_sizes``, as for all that follow.
        jitter: How lengths vary.
        seed: Seed of the lengths and their order.
    """

    def __init__(self, columns: TextBatch, bptt: int, jitter: Jitter = False, seed: int = 0) -> None:
        self.columns = columns
        self.bptt = bptt
        self.jitter = jitter
        self.seed = seed

    def __len__(self) -> int:
        return len(self._borders(0)) - 1

    def __getitem__(self, number: int) -> TextBatch:
        """Return a window by its number."""
        epoch, index = divmod(number, len(self))
        begin, end = self._borders(epoch)[index : index + 2]
        return TextBatch(self.columns.inputs[begin:end], self.columns.targets[begin:end])

    def _borders(self, epoch: int) -> list[int]:
        return _borders(len(self.columns.inputs), self.bptt, self.jitter, self.seed, epoch)


@lru_cache(maxsize=16)  # epoch 0 and the present one, of a few texts
def _borders(steps: int, bptt: int, jitter: Jitter, seed: int, epoch: int) -> list[int]:
    return [0, *window_sizes(steps, bptt, jitter, seed, epoch).cumsum(0).tolist()]
