"""Random dropping of whole paths."""

from torch import Tensor, nn

from lightning_nas.checks import check_fraction


class DropPath(nn.Module):
    """Sets the output of a path to zero for a random part of the samples, in training mode.

    The kept samples are scaled by ``1 / (1 - probability)``, so the expectation is unchanged. ``RetrainModule`` sets
    ``probability`` at the start of every epoch.
    """

    def __init__(self, probability: float = 0.0) -> None:
        super().__init__()
        check_fraction("probability", probability, zero_allowed=True)
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the same shape, out of place."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        mask = x.new_empty((len(x), 1, 1, 1)).bernoulli_(keep)
        return x * (mask / keep)
