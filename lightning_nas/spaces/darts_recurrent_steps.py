"""The time steps of the mixed recurrent cell of DARTS as one function with a gradient of its own.

Autograd would keep every activation, several times as much as the states and products that are kept here; the rest is
computed again on the way back. To be differentiated twice, the way back is taken by autograd after all.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_nas.operations.recurrent import ACTIVATIONS, Edge, HighwayCell, Term, identity
from lightning_nas.spaces.darts_recurrent_cell import Gradients, MixedCell, Saved
from lightning_nas.spaces.darts_recurrent_mixture import EdgeWeights
from lightning_nas.spaces.darts_recurrent_norm import Normalisation


class MixedSteps(torch.autograd.Function):
    """All time steps of a mixed cell; returns outputs ``[steps, texts, hidden]``, and all means and inverses."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        state: Tensor,
        mask: Tensor | None,
        table: Tensor,
        recurrent: Tensor,
        norm: Normalisation | None,
        keep: bool,
        *matrices: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the steps; the arguments are those of ``mixed_steps``."""
        cell = MixedCell.of(table, recurrent, matrices, mask, norm)
        steps, texts, hidden = len(inputs), *state.shape
        outputs = state.new_empty(steps, texts, hidden)
        means = state.new_empty(steps, len(matrices) + 1, hidden)
        rooms = [cell.room(texts) for _ in range(steps if keep else 1)]
        last = state
        for t, x in enumerate(inputs.unbind(0)):
            outputs[t] = last = cell.step(x, last, rooms[t if keep else 0], means[t])
        inverses = torch.stack([room.inverses for room in rooms])
        ctx.norm, ctx.nodes = norm, len(matrices)
        saved = [tensor for room in rooms for tensor in room] if keep else []
        ctx.save_for_backward(inputs, state, mask, table, recurrent, *matrices, outputs, *saved)
        ctx.mark_non_differentiable(means, inverses)
        return outputs, means, inverses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Any, ...]:
        """Return the gradients; with ``create_graph=True``, such that can be differentiated again."""
        inputs, state, mask, table, recurrent, *others = ctx.saved_tensors
        matrices, (outputs, *saved) = others[: ctx.nodes], others[ctx.nodes :]
        if torch.is_grad_enabled():
            found = _differentiable(ctx, gradient, (inputs, state, mask, table, recurrent, *matrices))
            return (*found[:2], None, *found[2:4], None, None, *found[4:])
        wanted = ctx.needs_input_grad
        cell = MixedCell.of(table, recurrent, matrices, mask, ctx.norm)
        sums = _zeros(cell, state, wanted)
        of_inputs, of_last = torch.empty_like(inputs), torch.zeros_like(state)
        for t in range(len(inputs) - 1, -1, -1):
            step = Saved(*saved[t * len(Saved._fields) : (t + 1) * len(Saved._fields)])
            last = outputs[t - 1] if t else state
            of_last = cell.step_back(gradient[t] + of_last, last, step, sums, of_inputs[t])
        of_table = _of_table(sums.weights, table) if wanted[3] else None
        return of_inputs, of_last, None, of_table, sums.recurrent, None, None, *sums.matrices


def _zeros(cell: MixedCell, state: Tensor, wanted: Sequence[bool]) -> Gradients:
    """Return room for the gradients that are wanted, by the arguments of ``MixedSteps``."""
    of_recurrent = torch.zeros_like(cell.recurrent) if wanted[4] else None
    zipped = zip(cell.matrices, wanted[7:], strict=True)
    of_matrices = [torch.zeros_like(matrix) if needed else None for matrix, needed in zipped]
    nodes = range(1, len(cell.matrices) + 1)
    fields = len(EdgeWeights._fields)
    rooms = [EdgeWeights(*state.new_zeros(fields, node, *state.shape)) if wanted[3] else None for node in nodes]
    return Gradients(of_recurrent, of_matrices, rooms)


def _of_table(sums: Sequence[EdgeWeights | None], table: Tensor) -> Tensor:
    """Return the gradient of the mixture: sums over texts and units; the total is part of every activation."""
    by_node = [torch.stack([field.sum((1, 2)) for field in node], 1) for node in sums if node is not None]
    columns = torch.cat(by_node)
    return torch.cat([torch.zeros_like(table[:, :1]), columns[:, :-1] + columns[:, -1:]], 1)


def _differentiable(ctx: Any, gradient: Tensor, arguments: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return the gradients of all arguments but the mask, by autograd from the plain form."""
    inputs, state, mask, table, recurrent, *matrices = arguments
    given = [inputs, state, table, recurrent, *matrices]
    wanted = [tensor for tensor in given if tensor is not None and tensor.requires_grad]
    outputs = mixed_cell(table, recurrent, matrices, ctx.norm).run(inputs, state, mask)  # type: ignore[arg-type]
    found = iter(torch.autograd.grad(outputs, wanted, gradient, create_graph=True, materialize_grads=True))
    return [next(found) if tensor is not None and tensor.requires_grad else None for tensor in given]


def mixed_cell(table: Tensor, recurrent: Tensor, matrices: Sequence[Tensor], norm: Normalisation | None) -> HighwayCell:
    """Return the cell in the form that autograd differentiates; the arguments are those of ``mixed_steps``."""
    rows = iter(table.unbind(0))
    nodes = [
        [Edge(j, matrix, tuple(map(Term, ACTIVATIONS.values(), next(rows)[1:].unbind(0)))) for j in range(node)]
        for node, matrix in enumerate(matrices, 1)
    ]
    return HighwayCell(
        recurrent, (Term(torch.tanh),), nodes, range(1, len(nodes) + 1), identity if norm is None else norm.__call__
    )


def mixed_steps(
    inputs: Tensor,
    state: Tensor,
    mask: Tensor | None,
    table: Tensor,
    recurrent: Tensor,
    matrices: Sequence[Tensor],
    norm: Normalisation | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the outputs of all time steps, ``[steps, texts, hidden]``; means and inverse deviations of all states.

    Args:
        inputs: The input's part of state 0, ``[steps, texts, 2 * hidden]``.
        state: The output before the first step, ``[texts, hidden]``.
        mask: Multiplies every state before its matrix product.
        table: Weights of the primitives, ``[edges, primitives]``, edges node by node.
        recurrent: ``[hidden, 2 * hidden]``, what the last output is multiplied by.
        matrices: The same for every node.
        norm: How states are normalised.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        found: tuple[Tensor, Tensor, Tensor] = MixedSteps.apply(
            inputs, state, mask, table, recurrent, norm, torch.is_grad_enabled(), *matrices
        )
    return found
