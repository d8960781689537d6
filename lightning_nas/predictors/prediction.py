"""What predictors say."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of ``n`` architectures.

    Args:
        members: ``[members, n]``: what each member says, on the scale of the fitted scores.
    """

    members: Tensor

    @property
    def mean(self) -> Tensor:
        """``[n]``: the prediction."""
        return self.members.mean(0)

    @property
    def deviation(self) -> Tensor:
        """``[n]``: how far the members disagree, as a standard deviation; 0 for a single member."""
        return self.members.std(0, correction=0)
