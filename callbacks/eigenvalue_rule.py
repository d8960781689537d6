"""When a search should have ended, by the eigenvalues of its Hessian."""

from collections.abc import Sequence
from statistics import fmean

WINDOW = 5  # eigenvalues that are averaged
DISTANCE = 4  # evaluations from one average to the other


def epoch_before_rise(
    epochs: Sequence[int], eigenvalues: Sequence[float], ratio: float = 1.3, first_epoch: int = 10
) -> int | None:
    """Return the epoch before eigenvalues began to rise, if the latest evaluation shows that they did (DARTS-ES).

    The mean of the latest five is compared with the mean of the five that are four evaluations older. With evaluations
    every two epochs, at epoch e the means are centred at e - 4 and at e - 12, the epoch that is returned.

    Args:
        epochs: Epochs of the evaluations so far.
        eigenvalues: The eigenvalue at each.
        ratio: How many times the older mean the newer one must exceed.
        first_epoch: First epoch that may be returned.
    """
    if len(eigenvalues) < WINDOW + DISTANCE:
        return None
    now, before = fmean(eigenvalues[-WINDOW:]), fmean(eigenvalues[-WINDOW - DISTANCE : -DISTANCE])
    centre = epochs[-1 - WINDOW // 2 - DISTANCE]
    risen = before > 0 and now > ratio * before  # a ratio says nothing where the older mean is not positive
    return centre if risen and centre >= first_epoch else None
