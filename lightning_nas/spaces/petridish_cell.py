"""The cells of Petridish networks."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import relu_conv_norm
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.operations.weak_learner import Term, WeakLearner, stop_forward, term_name
from lightning_nas.spaces.petridish_operations import petridish_operation
from lightning_nas.spaces.petridish_plan import BEFORE_LAST, FIRST_NODE, LAST, PetridishCellPlan, Terms

SEED: Terms = ((LAST, "sep_conv_3x3"), (LAST, "identity"))  # what every cell begins with, added up


def _operations(plan: PetridishCellPlan, terms: Terms) -> dict[Term, nn.Module]:
    return {term: petridish_operation(term[1], plan.channels, plan.stride(term[0])) for term in terms}


class Paths(nn.Module):
    """Operations side by side, each with the input that it reads.

    Args:
        plan: Where the cell stands.
        terms: The operations.
        drop_path: Drops what is no identity.
    """

    def __init__(self, plan: PetridishCellPlan, terms: Terms, drop_path: DropPath) -> None:
        super().__init__()
        self.terms = terms
        self.operations = nn.ModuleDict({term_name(term): op for term, op in _operations(plan, terms).items()})
        self.drop_path = drop_path

    def forward(self, states: Mapping[int, Tensor]) -> list[Tensor]:
        """Return an output per operation."""
        return [self._output(term, states[term[0]]) for term in self.terms]

    def _output(self, term: Term, x: Tensor) -> Tensor:
        operation = self.operations[term_name(term)]
        output: Tensor = operation(x)
        return output if isinstance(operation, nn.Identity) else self.drop_path(output)


class Node(nn.Module):
    """What an increment adds to a cell: its operations, concatenated, and brought back to the cell's channels."""

    def __init__(self, plan: PetridishCellPlan, terms: Terms, drop_path: DropPath) -> None:
        super().__init__()
        self.paths = Paths(plan, terms, drop_path)
        self.project = relu_conv_norm(len(terms) * plan.channels, plan.channels)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, states: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Return ``[N, C, H, W]``, which later nodes of the cell read, and what is added to the cell's output."""
        merged: Tensor = self.project(torch.cat(self.paths(states), 1))
        return merged, self.gate * merged


class PetridishCell(nn.Module):
    """A cell of the seed with what has grown in it, and with weak learners where there are some.

    Parameter names: ``preprocess.<input>``, ``seed``, ``nodes.<number>`` with the number by which later nodes read it,
    ``learners.<number>``. What an increment adds has names of its own, all others stay as they are.

    An input that no node reads is not prepared: a weak learner that reads it prepares it for itself.

    Args:
        plan: Where the cell stands.
        increments: The terms of the nodes.
        candidates: The terms that each weak learner has, by the learner's number.
        drop_path: Drops paths of the seed and of the nodes.
    """

    def __init__(
        self, plan: PetridishCellPlan, increments: Sequence[Terms], candidates: Mapping[int, Terms], drop_path: DropPath
    ) -> None:
        super().__init__()
        read = _inputs_of((SEED, *increments))
        self.preprocess = nn.ModuleDict({str(source): plan.preprocessing(source) for source in read})
        self.seed = Paths(plan, SEED, drop_path)
        self.nodes = nn.ModuleDict({str(k): Node(plan, t, drop_path) for k, t in enumerate(increments, FIRST_NODE)})
        self.learners = nn.ModuleDict({str(k): _learner(plan, t, read) for k, t in candidates.items()})

    def forward(self, before_last: Tensor, last: Tensor, alphas: Sequence[Tensor] = ()) -> Tensor:
        """Return ``[N, C, H, W]``.

        Args:
            before_last: The output of the cell before the last one.
            last: The output of the last cell.
            alphas: The weights of all weak learners, by their numbers.
        """
        states = {BEFORE_LAST: before_last, LAST: last}
        states |= {int(source): module(states[int(source)]) for source, module in self.preprocess.items()}
        output: Tensor = reduce(operator.add, self.seed(states))
        for number, node in self.nodes.items():
            states[int(number)], gated = node(states)
            output = output + gated
        # in evaluation mode nobody asks for their gradients
        for number, learner in self.learners.items() if self.training else ():
            output = output + stop_forward(learner(states, alphas[int(number)])).to(output.dtype)
        return output


def _learner(plan: PetridishCellPlan, terms: Terms, prepared: Sequence[int]) -> WeakLearner:
    unprepared = [source for source in _inputs_of([terms]) if source not in prepared]
    return WeakLearner(_operations(plan, terms), {source: plan.preprocessing(source) for source in unprepared})


def _inputs_of(increments: Iterable[Terms]) -> list[int]:
    """Return which of a cell's two inputs are read."""
    return sorted({source for terms in increments for source, _ in terms if source < FIRST_NODE})
