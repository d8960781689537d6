"""The recurrent layers of ENAS: the search layer with the weights of all paths, and the layer of one architecture."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_nas.operations.recurrent import ACTIVATIONS, Edge, HighwayCell, RecurrentLayer, Term, single_term
from lightning_nas.spaces.mixture import Mixture

OPERATIONS = ("tanh", "relu", "identity", "sigmoid")  # the order of the official code
Path = tuple[tuple[int, str], ...]  # input and activation of every node; node 0 has no input


def find_loose_ends(sources: Iterable[int], nodes: int) -> tuple[int, ...]:
    """Return the nodes that no node reads."""
    read = set(sources)
    return tuple(node for node in range(nodes) if node not in read)


class EnasRecurrentLayer(RecurrentLayer):
    """A layer that holds the matrices of some pairs of node and input, without biases.

    Parameters: ``weight`` ``[2 * hidden, 2 * hidden]`` of node 0, for the input, then for the last output, and
    ``nodes.<node>.<input>`` ``[hidden, 2 * hidden]``; columns are those of the gate, then of the new state.

    Args:
        hidden: Width of the inputs and of the state.
        sources: The possible inputs of every node but node 0.
        norm: Whether the output is normalised by the batch, as in the search.
    """

    def __init__(self, hidden: int, sources: Sequence[Iterable[int]], *, norm: bool) -> None:
        super().__init__(hidden)
        self.count = len(sources) + 1
        self.weight = nn.Parameter(torch.empty(2 * hidden, 2 * hidden))
        self.nodes = nn.ModuleDict()
        for node, those in enumerate(sources, 1):
            matrices = {str(j): nn.Parameter(torch.empty(hidden, 2 * hidden)) for j in those}
            self.nodes[str(node)] = nn.ParameterDict(matrices)
        self.norm = nn.BatchNorm1d(hidden, track_running_stats=False) if norm else nn.Identity()

    def matrix(self, node: int, source: int) -> Tensor:
        """Return the matrix of a pair of node and input."""
        return self.nodes.get_parameter(f"{node}.{source}")

    def run(
        self, inputs: Tensor, state: Tensor, mask: Tensor | None, first: tuple[Term, ...], nodes: Sequence[list[Edge]]
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[steps, texts, hidden]``, each the mean of the loose ends, and the last of them."""
        of_input, recurrent = torch.split(self.weight, self.hidden)
        loose = find_loose_ends((edge.source for node in nodes for edge in node), self.count)
        cell = HighwayCell(recurrent, first, nodes, loose, output_norm=self.norm)
        outputs = cell.run(inputs @ of_input, state, mask)
        return outputs, outputs[-1]


class EnasRecurrentChild(EnasRecurrentLayer):
    """The layer of one architecture.

    Args:
        hidden: Width of the inputs and of the state.
        first: Activation of node 0.
        path: Input and activation of every other node.
        norm: Whether the output is normalised by the batch, as in the search.
    """

    def __init__(self, hidden: int, first: str, path: Path, *, norm: bool = False) -> None:
        super().__init__(hidden, [(source,) for source, _ in path], norm=norm)
        self.first = first
        self.path = path

    def forward(self, inputs: Tensor, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs ``[steps, texts, hidden]`` and the last of them."""
        nodes = [
            [Edge(source, self.matrix(node, source), (Term(ACTIVATIONS[activation]),))]
            for node, (source, activation) in enumerate(self.path, 1)
        ]
        return self.run(inputs, state, mask, (Term(ACTIVATIONS[self.first]),), nodes)


class EnasRecurrentSearch(EnasRecurrentLayer):
    """The layer that holds the matrices of all pairs; what a mixture does not activate is not computed.

    Args:
        hidden: Width of the inputs and of the state.
        nodes: Number of nodes.
    """

    def __init__(self, hidden: int, nodes: int) -> None:
        super().__init__(hidden, [range(node) for node in range(1, nodes)], norm=True)

    def forward(
        self, inputs: Tensor, state: Tensor, mask: Tensor | None, mixtures: Mapping[str, Mixture]
    ) -> tuple[Tensor, Tensor]:
        """Return outputs ``[steps, texts, hidden]`` and the last of them."""
        weights, active = mixtures["node0"].row(0)
        first = tuple(single_term(ACTIVATIONS[OPERATIONS[k]], weights[k], self.weight) for k in active)
        nodes = [self._edges(node, mixtures[f"node{node}"]) for node in range(1, self.count)]
        return self.run(inputs, state, mask, first, nodes)

    def _edges(self, node: int, mixture: Mixture) -> list[Edge]:
        weights, active = mixture.row(0)
        terms: dict[int, list[Term]] = {}
        for k in active:
            source, operation = divmod(k, len(OPERATIONS))
            terms.setdefault(source, []).append(
                single_term(ACTIVATIONS[OPERATIONS[operation]], weights[k], self.weight)
            )
        return [Edge(source, self.matrix(node, source), tuple(those)) for source, those in terms.items()]
