"""The recurrent layers of DARTS: a discrete cell, and the mixture of all of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_nas.operations.recurrent import ACTIVATIONS, Edge, HighwayCell, RecurrentLayer, Term, single_term
from lightning_nas.spaces.darts_recurrent_norm import fixed_or_batch, track
from lightning_nas.spaces.darts_recurrent_steps import mixed_steps
from lightning_nas.spaces.mixture import Mixture

PRIMITIVES = ("none", *ACTIVATIONS)
GROUP = "cell"  # name of the only group of mixed places


class DartsRecurrentLayer(RecurrentLayer):
    """One cell, without biases.

    Parameters: ``weight`` ``[2 * hidden, 2 * hidden]``, for the input, then for the last output, and ``nodes.<node>``
    ``[hidden, 2 * hidden]``; columns are those of the gate, then of the new state.

    Args:
        hidden: Width of the inputs and of the state.
        pairs: Activation and input of every node.
        norm: Whether every state is normalised by the batch, as in the search.
    """

    def __init__(self, hidden: int, pairs: Sequence[tuple[str, int]], *, norm: bool = False) -> None:
        super().__init__(hidden)
        self.pairs = tuple(pairs)
        self.weight = nn.Parameter(torch.empty(2 * hidden, 2 * hidden))
        self.nodes = nn.ParameterList(torch.empty(hidden, 2 * hidden) for _ in pairs)
        self.norm = nn.BatchNorm1d(hidden, affine=False) if norm else nn.Identity()

    def forward(self, inputs: Tensor, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs ``[steps, texts, hidden]`` and the last of them."""
        of_input, recurrent = torch.split(self.weight, self.hidden)
        edges = [
            (Edge(source, matrix, (Term(ACTIVATIONS[activation]),)),)
            for (activation, source), matrix in zip(self.pairs, self.nodes, strict=True)
        ]
        cell = HighwayCell(recurrent, (Term(torch.tanh),), edges, range(1, len(edges) + 1), self.norm)
        outputs = cell.run(inputs @ of_input, state, mask)
        return outputs, outputs[-1]


class MixedRecurrentLayer(RecurrentLayer):
    """The cell in which every node mixes all primitives on all earlier states; parameters as ``DartsRecurrentLayer``.

    Args:
        hidden: Width of the inputs and of the state.
        nodes: Number of nodes.
        norm: Whether every state is normalised by the batch: one BatchNorm for all nodes and time steps.
    """

    def __init__(self, hidden: int, nodes: int, *, norm: bool = True) -> None:
        super().__init__(hidden)
        self.weight = nn.Parameter(torch.empty(2 * hidden, 2 * hidden))
        self.nodes = nn.ParameterList(torch.empty(hidden, 2 * hidden) for _ in range(nodes))
        self.norm = nn.BatchNorm1d(hidden, affine=False) if norm else nn.Identity()

    def forward(
        self, inputs: Tensor, state: Tensor, mask: Tensor | None, mixtures: Mapping[str, Mixture]
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[steps, texts, hidden]`` and the last of them."""
        of_input, recurrent = torch.split(self.weight, self.hidden)
        mixture, projected = mixtures[GROUP], (inputs @ of_input).to(state.dtype)
        if mixture.active is None:
            outputs = self._mix(projected, state, mask, mixture.weights.to(self.weight), recurrent)
        else:
            edges = [self._edges(node, mixture) for node in range(len(self.nodes))]
            cell = HighwayCell(recurrent, (Term(torch.tanh),), edges, range(1, len(edges) + 1), self.norm)
            outputs = cell.run(projected, state, mask)
        return outputs, outputs[-1]

    def _mix(self, x: Tensor, state: Tensor, mask: Tensor | None, table: Tensor, recurrent: Tensor) -> Tensor:
        norm = fixed_or_batch(self.norm, len(state)) if isinstance(self.norm, nn.BatchNorm1d) else None
        outputs, means, inverses = mixed_steps(x, state, mask, table, recurrent, list(self.nodes), norm)
        if isinstance(self.norm, nn.BatchNorm1d):
            track(self.norm, means.flatten(0, 1), inverses.flatten(0, 1), len(state))
        return outputs

    def _edges(self, node: int, mixture: Mixture) -> list[Edge]:
        edges = []
        for j in range(node + 1):
            weights, active = mixture.row(node * (node + 1) // 2 + j)
            terms = tuple(
                single_term(ACTIVATIONS[PRIMITIVES[k]], weights[k], self.weight)
                for k in active
                if PRIMITIVES[k] != "none"
            )
            edges += [Edge(j, self.nodes[node], terms)] if terms else []
        return edges
