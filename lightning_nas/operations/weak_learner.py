"""The weak learners of Petridish (Hu et al. 2019, arXiv 1905.13360), and their gates."""

import operator
from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_at_least

Term = tuple[int, str]  # the number of an input, and the name of an operation on it


def stop_forward(x: Tensor) -> Tensor:
    """Return zeros whose gradient is that of ``x``: the paper's sf. Where ``x`` is not finite, they are NaN."""
    return x - x.detach()


class WeakLearner(nn.Module):
    """A sum of operations, each on one of several inputs, weighted by ``alpha``.

    No gradient reaches the inputs: the paper's sg. Add ``stop_forward`` of the output to a layer's output, and the
    layer computes what it did before, all other parameters get the gradients that they got before, and those of the
    learner descend on its product with the layer's gradient. It draws no random numbers: dropped paths stay the same.

    Args:
        operations: What to apply to which input.
        preprocess: What an input goes through first, by its number, where it needs that.

    Example:
        >>> learner = WeakLearner({(0, "identity"): nn.Identity()})
        >>> learner({0: torch.tensor([2.0])}, torch.tensor([0.5]))
        tensor([1.])
    """

    def __init__(self, operations: Mapping[Term, nn.Module], preprocess: Mapping[int, nn.Module] | None = None) -> None:
        super().__init__()
        self.preprocess = nn.ModuleDict({str(number): module for number, module in (preprocess or {}).items()})
        self.terms = tuple(operations)
        self.operations = nn.ModuleDict({term_name(term): operation for term, operation in operations.items()})

    def forward(self, inputs: Mapping[int, Tensor], alpha: Tensor) -> Tensor:
        """Return the weighted sum, in the precision of ``alpha`` where that is the higher one.

        Args:
            inputs: The inputs by their numbers.
            alpha: ``[terms]``.
        """
        cut = {number: x.detach() for number, x in inputs.items()}
        cut |= {int(number): module(cut[int(number)]) for number, module in self.preprocess.items()}
        outputs = (self.operations[term_name(term)](cut[term[0]]) for term in self.terms)
        # a row of alpha, not a number of it: numbers do not raise the precision of what they are multiplied with
        total: Tensor = reduce(operator.add, (output * alpha[k : k + 1] for k, output in enumerate(outputs)))
        return total


def term_name(term: Term) -> str:
    """Return the name of a term's operation among the parameters: ``"1_sep_conv_3x3"``."""
    return f"{term[0]}_{term[1]}"


def initial_alpha(terms: int) -> nn.Parameter:
    """Return equal weights that sum to one."""
    return nn.Parameter(torch.full((terms,), 1 / terms))


def absolute_sum(alphas: Iterable[Tensor]) -> Tensor:
    """Return the sum of all absolute values: what the training adds to the loss, times a factor (lasso)."""
    return torch.cat([alpha.reshape(-1) for alpha in alphas]).abs().sum()


def select_terms(alpha: Tensor, terms: int = 3, threshold: float = 0.0) -> tuple[int, ...]:
    """Return the places of the largest absolute values, the largest first; none if there is none above the threshold.

    Args:
        alpha: ``[candidates]``.
        terms: How many are kept at most.
        threshold: What an absolute value must exceed.

    Raises:
        ValueError: If ``terms`` is below 1, ``threshold`` below 0, or a value is not finite.

    Example:
        >>> select_terms(torch.tensor([0.02, -0.30, 0.01, 0.25, -0.05, 0.00, 0.10]))
        (1, 3, 6)
    """
    check_at_least("terms", terms, 1)
    check_at_least("threshold", threshold, 0)
    if not torch.isfinite(alpha).all():
        raise ValueError("Expected finite alphas but got NaN or infinity; the training has diverged")
    sizes = alpha.detach().abs().tolist()
    ranked = sorted(range(len(sizes)), key=lambda k: -sizes[k])  # of equal ones the first, on every device
    return tuple(k for k in ranked[:terms] if sizes[k] > threshold)
