"""Random search."""

from lightning_nas.architecture import Architecture
from lightning_nas.strategies.base import Strategy


class RandomStrategy(Strategy):
    """Proposes random architectures, each new one as likely as ``space.sample`` draws it.

    It proposes all of a small space in the end. ``ask`` returns fewer than asked for when a thousand draws in a row
    hold nothing new: of a large space, a few architectures may be left.

    Example:
        >>> strategy = RandomStrategy("nasbench201", seed=1)
        >>> len(strategy.ask(5))
        5
    """

    def _propose(self) -> Architecture | None:
        return self.sample_new()
