"""The time steps of the mixed recurrent cell of DARTS, with the gradient written out.

A node mixes all activations ``f`` on all earlier states ``j``:

    s = sum_jf p_jf * (s_j + sigmoid(c_j) * (f(h_j) - s_j)),    [c_j, h_j] = (mask * s_j) W

With ``P_j = sum_f p_jf`` that is ``sum_j P_j s_j + sigmoid(c_j) * (sum_f p_jf f(h_j) - P_j s_j)``: one matrix product and
some ten passes over ``[states, texts, hidden]``, whatever the number of activations. Autograd would do the same backward
with some thirty passes and keep five times as much; here only states and products are kept, the rest is computed again.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_nas.operations.recurrent import ACTIVATIONS, Edge, HighwayCell, Term, highway, identity, masked

PRIMITIVES = ("none", *ACTIVATIONS)


class Normalisation(NamedTuple):
    """How states are normalised: by given statistics or, without, by those of the batch.

    Args:
        mean: ``[hidden]``.
        inverse: One by the standard deviation, ``[hidden]``.
        eps: Added to a batch's variance.
    """

    mean: Tensor | None
    inverse: Tensor | None
    eps: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``[texts, hidden]`` normalised, with mean and inverse deviation."""
        if self.mean is not None and self.inverse is not None:
            return (x - self.mean).mul_(self.inverse), self.mean, self.inverse
        mean = x.mean(0)
        centred = x - mean
        inverse = torch.linalg.vecdot(centred, centred, dim=0).div_(len(x)).add_(self.eps).rsqrt_()
        return centred.mul_(inverse), mean, inverse

    def backward(self, gradient: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
        """Return the gradient of what was normalised."""
        if self.mean is not None:
            return gradient * inverse
        slope = torch.linalg.vecdot(gradient, normed, dim=0).div_(len(normed))
        return (gradient - gradient.mean(0)).addcmul_(normed, slope, value=-1).mul_(inverse)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised, differentiable any number of times."""
        if self.mean is not None and self.inverse is not None:
            return (x - self.mean) * self.inverse
        return nn.functional.batch_norm(x, None, None, training=True, eps=self.eps)


class EdgeWeights(NamedTuple):
    """The weights of a node's edges, each ``[edges, 1, 1]``; ``total`` is their sum."""

    tanh: Tensor
    relu: Tensor
    sigmoid: Tensor
    identity: Tensor
    total: Tensor


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
        by_node = zip(*(column.split(list(range(1, len(matrices) + 1))) for column in columns.unbind(0)), strict=True)
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
        return products.split([edges * texts for edges in range(1, len(self.matrices) + 1)])

    def step(self, x: Tensor, last: Tensor, room: Saved, means: Tensor) -> Tensor:
        """Return the output of a time step, and fill ``room`` and ``means``."""
        torch.addmm(x, masked(last, self.mask), self.recurrent, out=room.first)
        self._store(highway(last, room.first, torch.tanh), 0, room, means)
        shared = zip(self.matrices, self.weights, self.split(room.products), strict=True)
        for node, (matrix, weights, products) in enumerate(shared, 1):
            torch.mm(room.masked[:node].flatten(0, 1), matrix, out=products)
            self._store(_mix(weights, room.states[:node], products), node, room, means)
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
            of_products = _mix_back(of_mixed, self.weights[k], sources, products[k], of_states[:node], sums.weights[k])
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


def _activations(products: Tensor) -> tuple[Tensor, ...]:
    """Return gate, tanh, relu, sigmoid and identity of products ``[edges, texts, 2 * hidden]``."""
    gate, sigmoid = products.sigmoid().chunk(2, -1)
    new = products[..., products.shape[-1] // 2 :]
    tanh = (2 * new).sigmoid_().mul_(2).sub_(1)  # on a CPU several times as fast as torch.tanh
    return gate, tanh, new.relu(), sigmoid, new


def _change(weights: EdgeWeights, states: Tensor, activations: Sequence[Tensor]) -> Tensor:
    """Return what the gates let in: ``sum_f p_f f(h) - P s``, for every edge."""
    _, tanh, relu, sigmoid, new = activations
    change = (weights.tanh * tanh).addcmul_(weights.relu, relu).addcmul_(weights.sigmoid, sigmoid)
    return change.addcmul_(weights.identity, new).addcmul_(weights.total, states, value=-1)


def _mix(weights: EdgeWeights, states: Tensor, products: Tensor) -> Tensor:
    """Return a node's state ``[texts, hidden]``, made of those ``[edges, texts, hidden]`` that it reads."""
    activations = _activations(products.view(*states.shape[:2], -1))
    change = _change(weights, states, activations).mul_(activations[0])
    return change.addcmul_(weights.total, states).sum(0)


def _mix_back(
    gradient: Tensor,
    weights: EdgeWeights,
    states: Tensor,
    products: Tensor,
    of_states: Tensor,
    sums: EdgeWeights | None,
) -> Tensor:
    """Return the gradient of a node's products, and add those of the states it reads and of its weights."""
    activations = _activations(products.view(*states.shape[:2], -1))
    gate, tanh, relu, sigmoid, _ = activations
    through = gradient * gate
    kept = gradient - through
    of_states.addcmul_(kept, weights.total)
    if sums is not None:
        for total, activation in zip(sums, activations[1:], strict=False):
            total.addcmul_(through, activation)
        sums.total.addcmul_(kept, states)
    result = torch.empty_like(products)
    of_gate, of_new = result.view(*states.shape[:2], -1).chunk(2, -1)
    torch.mul(_change(weights, states, activations).mul_(1 - gate), through, out=of_gate)
    slope = (tanh * tanh).neg_().add_(1).mul_(weights.tanh)
    slope.addcmul_(weights.relu, relu.sign_()).addcmul_(weights.sigmoid, sigmoid.mul(1 - sigmoid))
    torch.mul(slope.add_(weights.identity), through, out=of_new)
    return result


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


def mixed_cell(
    table: Tensor, recurrent: Tensor, matrices: Sequence[Tensor], norm: Normalisation | None
) -> HighwayCell:
    """Return the cell in the form that autograd differentiates; the arguments are those of ``mixed_steps``."""
    rows = iter(table.unbind(0))
    nodes = [
        [Edge(j, matrix, tuple(map(Term, ACTIVATIONS.values(), next(rows)[1:].unbind(0)))) for j in range(node)]
        for node, matrix in enumerate(matrices, 1)
    ]
    return HighwayCell(recurrent, torch.tanh, nodes, range(1, len(nodes) + 1), identity if norm is None else norm)


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
