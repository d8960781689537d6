"""A time step of the mixed recurrent cell of DARTS, and the way back through it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_nas.operations.recurrent import highway, masked
from lightning_nas.spaces.darts_recurrent_mixture import EdgeWeights, mix, mix_back
from lightning_nas.spaces.darts_recurrent_norm import Normalisation


class Saved(NamedTuple):
    """What a time step keeps for the way back.

    Args:
        first: Product of state 0, ``[texts, 2 * hidden]``.
        states: ``[nodes + 1, texts, hidden]``.
        masked: The same times the mask; the same tensor without a mask.
        products: Of all edges, node by node, ``[edges * texts, 2 * hidden]``.
        inverses: Inverse deviation of every state, ``[nodes + 1, hidden]``.
    """

    first: Tensor
    states: Tensor
    masked: Tensor
    products: Tensor
    inverses: Tensor


class Gradients(NamedTuple):
    """What is summed over time steps: of the matrices, and of each field of ``EdgeWeights`` by node."""

    recurrent: Tensor | None
    matrices: Sequence[Tensor | None]
    weights: Sequence[EdgeWeights | None]


class MixedCell(NamedTuple):
    """A cell whose nodes mix all activations on all earlier states; nothing here is seen by autograd."""

    recurrent: Tensor
    matrices: Sequence[Tensor]
    weights: Sequence[EdgeWeights]
    mask: Tensor | None
    norm: Normalisation | None

    @classmethod
    def of(
        cls,
        table: Tensor,
        recurrent: Tensor,
        matrices: Sequence[Tensor],
        mask: Tensor | None,
        norm: Normalisation | None,
    ) -> "MixedCell":
        """Make it of a mixture ``[edges, primitives]``."""
        columns = torch.cat([table[:, 1:], table[:, 1:].sum(1, keepdim=True)], 1).t().contiguous()[:, :, None, None]
        edges = list(range(1, len(matrices) + 1))
        by_node = zip(*(torch.split(column, edges) for column in columns.unbind(0)), strict=True)
        return cls(recurrent, matrices, [EdgeWeights(*columns) for columns in by_node], mask, norm)

    def room(self, texts: int) -> Saved:
        """Return empty tensors for a time step."""
        nodes, width = len(self.matrices), self.recurrent.shape[1]
        empty = self.recurrent.new_empty
        states = empty(nodes + 1, texts, width // 2)
        own = states if self.mask is None else torch.empty_like(states)
        products = empty(nodes * (nodes + 1) // 2 * texts, width)
        return Saved(empty(texts, width), states, own, products, empty(nodes + 1, width // 2))

    def split(self, products: Tensor) -> tuple[Tensor, ...]:
        """Return the products of every node, ``[edges * texts, 2 * hidden]``."""
        texts = len(products) // sum(range(1, len(self.matrices) + 1))
        return torch.split(products, [edges * texts for edges in range(1, len(self.matrices) + 1)])

    def step(self, x: Tensor, last: Tensor, room: Saved, means: Tensor) -> Tensor:
        """Return the output of a time step, and fill ``room`` and ``means``."""
        torch.addmm(x, masked(last, self.mask), self.recurrent, out=room.first)
        self._store(highway(last, room.first, torch.tanh), 0, room, means)
        shared = zip(self.matrices, self.weights, self.split(room.products), strict=True)
        for node, (matrix, weights, products) in enumerate(shared, 1):
            torch.mm(room.masked[:node].flatten(0, 1), matrix, out=products)
            self._store(mix(weights, room.states[:node], products), node, room, means)
        return room.states[1:].mean(0)

    def _store(self, state: Tensor, index: int, room: Saved, means: Tensor) -> None:
        if self.norm is not None:
            state, means[index], room.inverses[index] = self.norm.forward(state)
        room.states[index] = state
        if self.mask is not None:
            torch.mul(state, self.mask, out=room.masked[index])

    def step_back(self, gradient: Tensor, last: Tensor, saved: Saved, sums: Gradients, of_x: Tensor) -> Tensor:
        """Return the gradient of the output before a time step, add to ``sums``, and fill the gradient of its input.

        Args:
            gradient: Of the output, ``[texts, hidden]``.
            last: The output before.
            saved: What the step has kept.
            sums: Gradients of what all steps share.
            of_x: Gets the gradient of the step's input, ``[texts, 2 * hidden]``.
        """
        nodes = len(self.matrices)
        of_states = (gradient / nodes).expand(nodes + 1, *gradient.shape).clone()
        of_states[0] = 0
        of_masked = of_states if self.mask is None else torch.zeros_like(of_states)
        products = self.split(saved.products)
        for node in range(nodes, 0, -1):
            of_mixed = self._back_to_mixed(node, of_states, of_masked, saved)
            k = node - 1
            sources = saved.states[:node]
            of_products = mix_back(of_mixed, self.weights[k], sources, products[k], of_states[:node], sums.weights[k])
            of_masked[:node].flatten(0, 1).addmm_(of_products, self.matrices[k].t())
            if (of_matrix := sums.matrices[k]) is not None:
                of_matrix.addmm_(saved.masked[:node].flatten(0, 1).t(), of_products)
        of_first = self._back_to_mixed(0, of_states, of_masked, saved)
        return self._first_back(of_first, last, saved.first, sums.recurrent, of_x)

    def _back_to_mixed(self, index: int, of_states: Tensor, of_masked: Tensor, saved: Saved) -> Tensor:
        gradient = of_states[index]
        if self.mask is not None:
            gradient.addcmul_(of_masked[index], self.mask)
        if self.norm is None:
            return gradient
        return self.norm.backward(gradient, saved.states[index], saved.inverses[index])

    def _first_back(self, gradient: Tensor, last: Tensor, first: Tensor, total: Tensor | None, of_x: Tensor) -> Tensor:
        of_gate, of_new = of_x.chunk(2, -1)
        gate, new = first.chunk(2, -1)
        gate, new = gate.sigmoid(), new.tanh()
        through = gradient * gate
        torch.mul((new - last).mul_(1 - gate), through, out=of_gate)
        torch.mul((new * new).neg_().add_(1), through, out=of_new)
        if total is not None:
            total.addmm_(masked(last, self.mask).t(), of_x)
        of_last = masked(torch.mm(of_x, self.recurrent.t(), out=torch.empty_like(last)), self.mask)
        return of_last.add_(gradient).sub_(through)
