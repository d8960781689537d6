"""What all choices in a module share."""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from lightning_nas.architecture import DecisionKind, Value
from lightning_nas.spaces.mixture import Mixture

Observer = Callable[[str], AbstractContextManager[None]]  # of a branch, by its name in the container


class UnmixableError(ValueError):
    """Candidates cannot be mixed; the message names the choice."""


class Choice(nn.Module, ABC):
    """A place in a module where one of several candidates is to be chosen.

    In a search it computes the weighted sum of its candidates, with the weights of its ``mixture``. Without one all
    weights are equal. ``ModuleSpace`` and ``apply_architecture`` put what was chosen in its place.

    Args:
        key: Choices of equal key share one decision, and must have equal candidates. By default every choice has a
            decision of its own, named by its place in the model: ``"blocks/0/activation"``.
    """

    kind: DecisionKind
    container = ""  # name of the module that holds what is computed for some values only

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        if key is not None and (not key or "." in key):
            raise ValueError(f"Expected `key` to be a name without a dot but got {key!r}")
        self.key = key
        self.name = key  # of its decision, for messages; its place in the model, once that is known
        self.mixture: Mixture | None = None  # [slots, candidates], set by who searches
        self.replaced = False
        self.observer: Observer | None = None  # who counts what the branches cost

    @property
    @abstractmethod
    def values(self) -> tuple[Value, ...]:
        """What can be chosen, in the order of the mixture's columns."""

    @property
    def slots(self) -> int:
        """How many different candidates are chosen."""
        return 1

    @property
    def ordered(self) -> bool:
        """Whether the order of what is chosen counts."""
        return True

    @abstractmethod
    def leads_to(self, branch: str) -> tuple[Value, ...]:
        """Return the values for which a branch, by its name in the container, is computed."""

    @abstractmethod
    def replacement(self, chosen: Sequence[Value]) -> nn.Module:
        """Return the plain module that takes the choice's place; ``chosen`` has one value per slot."""

    def get_extra_state(self) -> Tensor:
        """Return nothing, under a name: weights of a decided model do not load where the choice is still there."""
        return torch.empty(0)

    def set_extra_state(self, state: object) -> None:
        """Take nothing up."""

    def extra_repr(self) -> str:
        """Return the key, for printing."""
        return "" if self.key is None else f"key={self.key!r}"

    def __getstate__(self) -> dict[str, Any]:
        # weights that are part of an autograd graph can be neither copied nor pickled
        mixture = self.mixture and Mixture(self.mixture.weights.detach(), self.mixture.active)
        return {**self.__dict__, "mixture": mixture}

    def _row(self, slot: int) -> tuple[Tensor | Sequence[float], tuple[int, ...]]:
        """Return the weights of a slot's candidates, and which are to be computed."""
        if self.replaced:
            raise RuntimeError(
                f"Expected {self._described} to be gone after it was decided but the model still calls it; register "
                "modules with nn.ModuleList or nn.ModuleDict rather than a list or dictionary"
            )
        if self.mixture is not None:
            return self.mixture.row(slot)
        count = len(self.values)
        return [1 / count] * count, tuple(range(count))

    @property
    def _described(self) -> str:
        return f"{type(self).__name__} {f'of {self.values}' if self.name is None else repr(self.name)}"

    def _error(self, text: str, advice: str = "") -> UnmixableError:
        return UnmixableError(f"Expected {text} in {self._described}{advice}")

    def _mix(self, weights: Tensor | Sequence[float], outputs: dict[int, Any]) -> Any:
        """Return the weighted sum of the outputs of candidates."""
        if not outputs:
            raise self._error("a candidate to be active but got none")
        first, *more = outputs.values()
        if not more and not isinstance(first, Tensor):
            return first  # one candidate at a time may return anything
        shapes = {self.values[k]: _shape(output) for k, output in outputs.items()}
        if len(set(shapes.values())) != 1 or not isinstance(first, Tensor):
            others = [self.values[k] for k, output in outputs.items() if not isinstance(output, Tensor)]
            advice = f"; wrap {others} so that each returns one tensor" if others else ""
            raise self._error(f"candidates that return tensors of one shape, to be mixed, but got {shapes}", advice)
        return reduce(operator.add, [weights[k] * output for k, output in outputs.items()])

    def _observed(self, branch: str) -> AbstractContextManager[None]:
        """Return what is to be entered while a branch is computed."""
        return nullcontext() if self.observer is None else self.observer(branch)

    @contextmanager
    def _unchanged(self, candidate: Value, inputs: Sequence[object]) -> Iterator[None]:
        """Raise when a candidate changes the input that the other candidates get, too."""
        if torch.compiler.is_compiling():  # which sees no versions
            yield
            return
        tensors = [x for x in inputs if isinstance(x, Tensor) and not x.is_inference()]
        before = [x._version for x in tensors]
        yield
        if before != [x._version for x in tensors]:
            raise self._error(f"candidates that leave their input as it is (inplace=False) but got {candidate!r}")


def _shape(output: object) -> tuple[int, ...] | str:
    return tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
