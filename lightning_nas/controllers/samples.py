"""What a controller returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """A batch of ``n`` architectures, and what the controller says of them; all but ``choices`` is differentiable.

    Args:
        choices: ``[n, decisions]``: for each decision of the space the index of what was chosen.
        log_prob: ``[n]``: logarithm of the probability of the architecture.
        entropy: ``[n]``: sum of the entropies of all decisions, as they were on the way to this architecture.
        skip_penalty: ``[n]``: how far the probabilities of flags are from the target, zero where there are no flags.
    """

    choices: Tensor
    log_prob: Tensor
    entropy: Tensor
    skip_penalty: Tensor
