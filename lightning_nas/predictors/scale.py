"""From scores to what a sigmoid can predict, and back."""

from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor

Scale = Literal["auto", "raw", "range", "rank"]
SCALES = ("auto", "raw", "range", "rank")
MARGIN = 0.1  # left on both sides of the known scores, so that better ones than all known can be predicted


@dataclass(frozen=True)
class ScoreScale:
    """A linear map between scores and targets of a predictor: ``score = low + target * (high - low)``.

    Args:
        low: The score of target 0.
        high: The score of target 1.
    """

    low: float
    high: float

    @classmethod
    def of(cls, scores: Tensor, scale: Scale = "auto") -> Self:
        """Return the scale for known scores.

        Args:
            scores: ``[n]``, finite.
            scale: ``"raw"``: as they are, as PNAS does with accuracies in [0, 1]. ``"range"``: the known scores become
                0.1 to 0.9. ``"rank"``: the same; the scores are their ranks. ``"auto"``: raw if all are in [0, 1].

        Raises:
            ValueError: If raw scores leave [0, 1], which a sigmoid does not reach.
        """
        low, high = float(scores.min()), float(scores.max())
        inside = low >= 0 and high <= 1
        if scale == "raw" and not inside:
            raise ValueError(f'Expected scores in [0, 1] for scale="raw" but got {low} to {high}')
        if scale == "raw" or (scale == "auto" and inside):
            return cls(0.0, 1.0)
        width = (high - low) / (1 - 2 * MARGIN) or 1.0
        return cls((low + high - width) / 2, (low + high + width) / 2)

    def down(self, scores: Tensor) -> Tensor:
        """Return the targets of scores."""
        return ((scores - self.low) / (self.high - self.low)).float()

    def up(self, targets: Tensor) -> Tensor:
        """Return the scores of targets."""
        return self.low + targets.double() * (self.high - self.low)
