"""A choice of depth."""

import inspect
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from lightning_nas.architecture import Value
from lightning_nas.spaces.choices.base import Choice


class RepeatChoice(Choice):
    """How many blocks are applied one after the other.

    In a search the output is the weighted sum of the outputs after each of the depths; a block is computed once.

    Args:
        block_factory: Makes a block. It is called with the block's index if it requires an argument, and without one
            otherwise. Blocks may hold choices; give those a ``key`` if all blocks are to decide alike.
        depths: The numbers of blocks to choose from; 0 passes the input on.
        key: Choices of equal key share one decision; see ``Choice``.

    Raises:
        ValueError: If there are no depths, or one is negative or listed twice.

    Example:
        >>> RepeatChoice(lambda: nn.Linear(4, 4), depths=(1, 2, 4)).values
        (1, 2, 4)
    """

    kind = "number"
    container = "blocks"

    def __init__(
        self,
        block_factory: Callable[[], nn.Module] | Callable[[int], nn.Module],
        depths: Sequence[int],
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        depths = tuple(depths)
        if (
            not depths
            or len(set(depths)) != len(depths)
            or any(type(depth) is not int or depth < 0 for depth in depths)
        ):
            raise ValueError(f"Expected `depths` to be different whole numbers from 0 on but got {depths}")
        self.depths = depths
        make = _with_index(block_factory)
        self.blocks = nn.ModuleList(make(index) for index in range(max(depths)))

    @property
    def values(self) -> tuple[Value, ...]:
        """The depths."""
        return self.depths

    def leads_to(self, branch: str) -> tuple[Value, ...]:
        """Return the depths that a block is part of."""
        return tuple(depth for depth in self.depths if depth > int(branch))

    def replacement(self, chosen: Sequence[Value]) -> nn.Module:
        """Return the first blocks, one after the other."""
        return nn.Sequential(*self.blocks[: int(chosen[0])])

    def forward(self, x: Tensor) -> object:
        """Return the weighted sum of the outputs after each depth."""
        weights, active = self._row(0)
        after: dict[int, object] = {}
        for depth in range(1 + max((self.depths[k] for k in active), default=0)):
            if depth:
                with self._observed(str(depth - 1)), self._unchanged(depth, (x,) if after else ()):
                    x = self.blocks[depth - 1](x)
            after |= {k: x for k in active if self.depths[k] == depth}
        return self._mix(weights, after)


def _with_index(factory: Callable[..., nn.Module]) -> Callable[[int], nn.Module]:
    parameters = inspect.signature(factory).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.default is p.empty and p.kind in positional]
    return factory if required else lambda _: factory()
