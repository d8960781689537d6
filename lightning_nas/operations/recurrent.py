"""Parts of recurrent cells: activations, highway connections, masks of dropout, and cells of highway nodes."""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """Return ``x``."""
    return x


ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": identity,
}


def dropout_mask(rate: float, *shape: int, like: Tensor) -> Tensor | None:
    """Draw zeros with probability ``rate``, and ``1 / (1 - rate)`` otherwise; nothing is drawn for rate zero."""
    return like.new_empty(shape).bernoulli_(1 - rate).div_(1 - rate) if rate else None


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``x`` times the mask, if there is one."""
    return x if mask is None else x * mask


def highway(state: Tensor, product: Tensor, activation: Activation) -> Tensor:
    """Return ``state + sigmoid(gate) * (activation(new) - state)``, where ``product`` is ``[gate, new]``."""
    gate, new = product.to(state.dtype).chunk(2, -1)  # autocast makes products of lower precision
    return torch.lerp(state, activation(new), gate.sigmoid())


class Term(NamedTuple):
    """An activation and its weight in a mixture; no weight is weight one."""

    activation: Activation
    weight: Tensor | None = None


def single_term(activation: Activation, weight: Tensor, like: Tensor) -> Term:
    """Return a term; a weight that is one and gets no gradient is left out, so that nothing is multiplied by it.

    Args:
        activation: The activation.
        weight: A single number.
        like: Gives device and precision.
    """
    if not weight.requires_grad and float(weight) == 1:
        return Term(activation)
    return Term(activation, weight.to(like))


class Edge(NamedTuple):
    """What a node makes of an earlier state.

    Args:
        source: Index of the state.
        matrix: ``[hidden, 2 * hidden]``: columns of the gate, then of the new state.
        terms: The activations; more than one are mixed.
    """

    source: int
    matrix: Tensor
    terms: tuple[Term, ...]


def mix_terms(state: Tensor, product: Tensor, terms: Sequence[Term]) -> Tensor:
    """Return ``sum(w * highway(state, product, f))`` over the activations ``f`` and their weights ``w``."""
    if len(terms) == 1:
        output = highway(state, product, terms[0].activation)
        return output if terms[0].weight is None else terms[0].weight * output
    gate, new = product.to(state.dtype).chunk(2, -1)
    kept = torch.stack([_weight_of(term, state) for term in terms]).sum() * state
    mixed = reduce(operator.add, [_weight_of(term, state) * term.activation(new) for term in terms])
    return kept + gate.sigmoid() * (mixed - kept)


def _weight_of(term: Term, like: Tensor) -> Tensor:
    return like.new_ones(()) if term.weight is None else term.weight


class HighwayCell(NamedTuple):
    """A recurrent cell whose nodes are highway connections from earlier states.

    State 0 is made of the input and of the cell's last output, state ``i + 1`` is node ``i``.

    Args:
        recurrent: ``[hidden, 2 * hidden]``, what the last output is multiplied by.
        first: The activations of state 0; more than one are mixed.
        nodes: The edges into every node; a node without edges is zero.
        outputs: Indices of the states whose mean the cell puts out.
        norm: Normalises every state.
        output_norm: Normalises what the cell puts out.
    """

    recurrent: Tensor
    first: tuple[Term, ...]
    nodes: Sequence[Sequence[Edge]]
    outputs: Sequence[int]
    norm: Callable[[Tensor], Tensor] = identity
    output_norm: Callable[[Tensor], Tensor] = identity

    def run(self, inputs: Tensor, state: Tensor, mask: Tensor | None) -> Tensor:
        """Return the outputs of all time steps, ``[steps, texts, hidden]``.

        All that reads one state is one matrix product.

        Args:
            inputs: The input's part of state 0, ``[steps, texts, 2 * hidden]``.
            state: The output before the first step, ``[texts, hidden]``.
            mask: Multiplies every state before its matrix product.
        """
        matrices: dict[int, list[Tensor]] = {}
        for edge in (edge for node in self.nodes for edge in node):
            matrices.setdefault(edge.source, []).append(edge.matrix)
        joined = {source: torch.cat(those, 1) if those[1:] else those[0] for source, those in matrices.items()}
        outputs = []
        for x in inputs.unbind(0):
            state = self._step(x, state, mask, joined)
            outputs.append(state)
        return torch.stack(outputs)

    def _step(self, x: Tensor, last: Tensor, mask: Tensor | None, joined: Mapping[int, Tensor]) -> Tensor:
        width = self.recurrent.shape[1]
        first = torch.addmm(x, masked(last, mask), self.recurrent)
        states = [self.norm(mix_terms(last, first, self.first))]
        products = {}
        for node in self.nodes:
            ends = []
            for edge in node:
                state = states[edge.source]
                if edge.source not in products:
                    products[edge.source] = iter(torch.split(masked(state, mask) @ joined[edge.source], width, 1))
                ends.append(mix_terms(state, next(products[edge.source]), edge.terms))
            states.append(self.norm(reduce(operator.add, ends) if ends else torch.zeros_like(last)))
        return self.output_norm(torch.stack([states[k] for k in self.outputs]).mean(0))


class RecurrentLayer(nn.Module):
    """Base of the layers of a language model.

    A layer's forward takes inputs ``[steps, texts, hidden]``, a state, the mask of the states or ``None``, and in a
    supernet the mixtures by group; it returns outputs ``[steps, texts, hidden]`` and the last state.

    Args:
        hidden: Width of the inputs and of the state.
        states: Number of tensors ``[texts, hidden]`` in the state; one is no tuple.
    """

    def __init__(self, hidden: int, states: int = 1) -> None:
        super().__init__()
        self.hidden = hidden
        self.states = states

    def initial_state(self, texts: int, like: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return zeros."""
        zeros = tuple(like.new_zeros(texts, self.hidden) for _ in range(self.states))
        return zeros if self.states > 1 else zeros[0]
