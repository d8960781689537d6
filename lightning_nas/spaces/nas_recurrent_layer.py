"""The recurrent layer of Zoph & Le: a tree of nodes over leaves that read input and state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_nas.operations.recurrent import ACTIVATIONS, RecurrentLayer, masked

COMBINATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"add": torch.add, "elem_mult": torch.mul}


class TreeNode(NamedTuple):
    """How a node joins its two inputs, and its activation: ``activation(combine(left, right))``."""

    combine: str
    activation: str

    def join(self, left: Tensor, right: Tensor) -> Tensor:
        """Return both inputs joined, before the activation."""
        return COMBINATIONS[self.combine](left, right)

    def activate(self, x: Tensor) -> Tensor:
        """Return the activation of ``x``."""
        return ACTIVATIONS[self.activation](x)


@dataclass(frozen=True)
class TreeCell:
    """A cell as a binary tree: leaves first, then level by level; the last node puts out the state.

    Args:
        nodes: All nodes, ``2 * base - 1`` of them; node ``i >= base`` reads nodes ``2 * (i - base)`` and the next one.
        inject: How the last memory enters.
        memory: The node that is the new memory, before its activation.
        injected: The node whose value the last memory enters, before another node reads it.
    """

    nodes: tuple[TreeNode, ...]
    inject: TreeNode
    memory: int
    injected: int

    @property
    def base(self) -> int:
        """Number of leaves."""
        return (len(self.nodes) + 1) // 2


class NasRecurrentLayer(RecurrentLayer):
    """One tree cell, without biases; its state is memory and hidden state.

    Parameters: ``inputs`` and ``recurrent``, ``[hidden, base * hidden]``; columns are those of leaf 0, 1, ...

    Args:
        hidden: Width of the inputs and of the states.
        cell: The cell.
    """

    def __init__(self, hidden: int, cell: TreeCell) -> None:
        super().__init__(hidden, states=2)
        self.cell = cell
        self.inputs = nn.Parameter(torch.empty(hidden, cell.base * hidden))
        self.recurrent = nn.Parameter(torch.empty(hidden, cell.base * hidden))
        leaves = cell.nodes[: cell.base]
        self.order = sorted(range(cell.base), key=lambda leaf: leaves[leaf])  # equal leaves stand side by side

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return outputs ``[steps, texts, hidden]``, and the last memory and hidden state."""
        memory, hidden = state
        recurrent = self._ordered(self.recurrent)
        runs = self._runs()
        outputs = []
        for x in (inputs @ self._ordered(self.inputs)).to(hidden.dtype).unbind(0):
            product = (masked(hidden, mask) @ recurrent).to(hidden.dtype)
            memory, hidden = self._tree(self._leaves(x, product, runs), memory)
            outputs.append(hidden)
        return torch.stack(outputs), (memory, hidden)

    def _ordered(self, matrix: Tensor) -> Tensor:
        leaves = torch.split(matrix, self.hidden, 1)
        return torch.cat([leaves[leaf] for leaf in self.order], 1)

    def _runs(self) -> list[tuple[TreeNode, int]]:
        """Return kinds of leaves and how many there are of each, in order."""
        kinds = [self.cell.nodes[leaf] for leaf in self.order]
        return [(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]

    def _leaves(
        self, x: Tensor, product: Tensor, runs: Sequence[tuple[TreeNode, int]]
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """Return every leaf before and after its activation; equal leaves are computed together."""
        widths = [count * self.hidden for _, count in runs]
        before: list[Tensor] = []
        after: list[Tensor] = []
        for (kind, count), left, right in zip(
            runs, torch.split(x, widths, 1), torch.split(product, widths, 1), strict=True
        ):
            joined = kind.join(left, right)
            before += joined.chunk(count, 1)
            after += kind.activate(joined).chunk(count, 1)
        return dict(zip(self.order, zip(before, after, strict=True), strict=True))

    def _tree(self, leaves: Mapping[int, tuple[Tensor, Tensor]], memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new memory and hidden state."""
        cell = self.cell
        before: list[Tensor] = []
        after: list[Tensor] = []
        for index, node in enumerate(cell.nodes):
            if index < cell.base:
                joined, value = leaves[index]
            else:
                left = 2 * (index - cell.base)
                joined = node.join(after[left], after[left + 1])
                value = node.activate(joined)
            if index == cell.injected:
                value = cell.inject.activate(cell.inject.join(value, memory))
            before.append(joined)
            after.append(value)
        return before[cell.memory], after[-1]
