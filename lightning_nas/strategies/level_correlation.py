"""How well a predictor has ranked a level of a progressive search."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LevelCorrelation:
    """Spearman's rank correlations between predicted and measured scores.

    Args:
        level: Number of blocks of the cells that the predictor has last been fitted to.
        fitted: On all scores that it was fitted to, those of smaller cells too.
        ahead: On the cells of the next level, as predicted before any of them was trained; ``None`` until all have
            been. They are the best by prediction only, so this is lower than it would be on random cells.
    """

    level: int
    fitted: float
    ahead: float | None = None
