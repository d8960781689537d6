"""Random dropping of whole paths."""

from torch import Tensor, nn

from lightning_nas.checks import check_fraction


class DropPath(nn.Module):
    """Sets the output of a path to zero for a random part of the samples, in training mode.

    The kept samples are scaled by one over the share that is kept, so the expectation is unchanged. ``RetrainModule``
    sets ``probability`` at the start of every epoch.

    Args:
        probability: Probability of dropping a path.
        scale: This place's share of the probability, above 0 and at most 1: ENAS drops the less the nearer the images.

    Raises:
        ValueError: If ``probability`` is not in [0, 1) or ``scale`` not in (0, 1].
    """

    def __init__(self, probability: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        check_fraction("probability", probability, zero_allowed=True)
        if not 0 < scale <= 1:
            raise ValueError(f"Expected `scale` to be a share with 0 < share <= 1 but got {scale}.")
        self.probability = probability
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to the same shape, out of place."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability * self.scale
        mask = x.new_empty((len(x), 1, 1, 1)).bernoulli_(keep)
        return x * (mask / keep)


def set_drop_path(network: nn.Module, probability: float) -> None:
    """Set the probability of every ``DropPath`` of a network, before its place's share."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.probability = probability
