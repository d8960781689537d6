"""The interface of a search space."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.inputs import Inputs
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.settings import Setting

T = TypeVar("T")


def pick(items: Sequence[T], generator: torch.Generator) -> T:
    """Return one of ``items``, each equally likely."""
    return items[int(torch.randint(len(items), (), generator=generator))]


class SearchSpace(ABC):
    """A set of architectures, the plain network of each, and one supernet that holds them all.

    A space is a value: it holds no weights and no random state. Its ``name`` says everything that is needed to make it
    again (``lightning_nas.spaces.get_space``), so an architecture file is complete in itself.
    """

    settings: ClassVar[Mapping[str, Setting]] = {}  # what the constructor takes, with the defaults
    example: Inputs | None = None  # an input of the networks, where the space knows one
    reads_text: ClassVar[bool] = False  # whether the networks are language models

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the space, with its settings where they differ from the published ones."""

    @property
    @abstractmethod
    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, in a fixed order."""

    @property
    @abstractmethod
    def groups(self) -> tuple[DecisionGroup, ...]:
        """The groups of mixed places of the supernet, in a fixed order."""

    @property
    def distinct(self) -> tuple[tuple[str, ...], ...]:
        """Groups of decisions, by name, whose values must differ from each other."""
        return ()

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(decision.choices) for decision in self.decisions)

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture at random."""
        return Architecture(self.name, {d.name: pick(d.choices, generator) for d in self.decisions})

    def validate(self, architecture: Architecture) -> None:
        """Raise a ``ValueError`` that names the reason unless ``architecture`` belongs to this space."""
        if architecture.space != self.name:
            raise ValueError(f"Expected an architecture of space {self.name!r} but got one of {architecture.space!r}")
        known = {decision.name for decision in self.decisions}
        if unknown := architecture.values.keys() - known:
            raise ValueError(f"Expected decisions of space {self.name!r} but got unknown {sorted(unknown)}")
        for decision in self.decisions:
            value = architecture.values.get(decision.name)
            if not decision.allows(value):
                raise ValueError(f"Expected {decision.name!r} to be one of {decision.choices} but got {value!r}")

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Return a valid architecture in which one decision has another value.

        Raises:
            ValueError: If there is no other architecture.
        """
        self.validate(architecture)
        if self.size == 1:
            raise ValueError(f"Expected a space of more than one architecture but got {self.name!r}")
        while True:
            decision = pick([d for d in self.decisions if len(d.choices) > 1], generator)
            others = [choice for choice in decision.choices if choice != architecture.values[decision.name]]
            values = {**architecture.values, decision.name: pick(others, generator)}
            mutant = Architecture(self.name, values)
            if self._is_valid(mutant):
                return mutant

    def _is_valid(self, architecture: Architecture) -> bool:
        try:
            self.validate(architecture)
        except ValueError:
            return False
        return True

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the representative of all architectures that compute the same function as this one."""
        self.validate(architecture)
        return replace(architecture, provenance={}, metrics={})

    @abstractmethod
    def build(
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        **scale: Any,
    ) -> nn.Module:
        """Build the plain network of an architecture.

        Args:
            architecture: A member of this space.
            auxiliary: Attach the auxiliary classifier that the paper trains with, where the paper has one; the network
                then returns ``AuxiliaryLogits`` in training mode.
            weights_from: A supernet of this space: the network gets its scale and its weights, and computes what the
                supernet computes with the architecture's ``mixtures``.
            scale: Size of the network (channels, layers, classes, ...); the defaults are the paper's.
        """

    @abstractmethod
    def supernet(self, **scale: Any) -> nn.Module:
        """Build the network that holds all architectures.

        Its forward takes the input and a ``Mixture`` per decision group, by the group's name. The defaults of ``scale``
        are the paper's search network.
        """

    def check_mixable(self, supernet: nn.Module) -> None:  # noqa: B027  # most spaces mix whatever they hold
        """Raise a ``ValueError`` that names the place unless the supernet can mix all candidates of all places."""

    @abstractmethod
    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Return the architecture that mixture weights stand for, by the paper's rule.

        Args:
            weights: For each decision group a table ``[rows, candidates]``, by the group's name.
        """

    @abstractmethod
    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return the mixtures with which the supernet computes exactly this architecture."""

    @abstractmethod
    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return what ``lightning_nas.plotting`` needs to draw the architecture."""
