"""What a cell of NASNet, AmoebaNet or PNAS computes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

Pair = tuple[int, str]  # the state that is read, and the operation on it
Block = tuple[Pair, Pair]
Codes = list[tuple[int, int]]  # of a block: its pairs in order, with the indices of the operations
OUTSIDE = 2  # states that are inputs of the cell: what the cell before last put out, and what the last one did


@dataclass(frozen=True)
class NasnetWiring:
    """The blocks of a cell, each the sum of two operations, and the states that the cell puts out.

    Args:
        blocks: Two pairs a block.
        outputs: States in rising order: 0 and 1 are the inputs of the cell, ``k + 2`` is block ``k``.
    """

    blocks: tuple[Block, ...]
    outputs: tuple[int, ...]

    @property
    def read(self) -> frozenset[int]:
        """The states that a block reads."""
        return frozenset(source for block in self.blocks for source, _ in block)

    @property
    def loose_ends(self) -> tuple[int, ...]:
        """The blocks, as states, that no block reads."""
        return tuple(state for state, _ in enumerate(self.blocks, OUTSIDE) if state not in self.read)

    def needs(self, state: int) -> bool:
        """Return whether a state is read or put out."""
        return state in self.read or state in self.outputs

    def canonical(self, operations: Sequence[str]) -> Self:
        """Return the way to write this cell that it shares with all cells equal to it.

        The pairs of a block are in order: by input, then by operation. Of all orders of the blocks with inputs before
        their readers it is the one with the least sequence of blocks, and then with the least outputs.

        Args:
            operations: All operations, in their order.
        """
        sequence, orders = self._least_orders(operations)
        blocks = tuple(((i, operations[a]), (j, operations[b])) for (i, a), (j, b) in sequence)
        return type(self)(blocks, min(tuple(sorted(order[state] for state in self.outputs)) for order in orders))

    def _least_orders(self, operations: Sequence[str]) -> tuple[list[Codes], list[dict[int, int]]]:
        """Return the least sequence of blocks and the orders that give it: the new number of every old state."""
        sequence: list[Codes] = []
        orders = [{state: state for state in range(OUTSIDE)}]
        for place, _ in enumerate(self.blocks, OUTSIDE):
            candidates = [
                (sorted((order[source], operations.index(name)) for source, name in block), {**order, state: place})
                for order in orders
                for state, block in enumerate(self.blocks, OUTSIDE)
                if state not in order and all(source in order for source, _ in block)
            ]
            sequence.append(min(codes for codes, _ in candidates))
            orders = [order for codes, order in candidates if codes == sequence[-1]]
        return sequence, orders
