"""The search space of Petridish (Hu et al. 2019, arXiv 1905.13360)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, get_args

import torch
from torch import nn

from lightning_nas.architecture import Architecture, Decision
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.operations.weak_learner import Term, term_name
from lightning_nas.spaces import petridish_writing as writing
from lightning_nas.spaces.base import pick
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.petridish_graph import cell_graph, network_graph
from lightning_nas.spaces.petridish_network import PetridishNetwork, PetridishScale
from lightning_nas.spaces.petridish_operations import OPERATIONS, check_operations
from lightning_nas.spaces.petridish_plan import (
    FIRST_NODE,
    Growth,
    Mode,
    PetridishIncrement,
    Place,
    Terms,
    count_growths,
    growth_of,
    places_of,
)
from lightning_nas.spaces.settings import Setting, space_name
from lightning_nas.spaces.unshared_space import UnsharedSpace


class PetridishSpace(UnsharedSpace):
    """Networks that grow: a small seed, and a sequence of increments.

    The seed has three stages of ``cells`` normal cells, and a reduction cell between two stages. Every cell adds up a
    separable convolution and the identity of the last cell's output. An increment puts a node into a cell: up to
    ``terms`` operations, each on one of the cell's two inputs (0 the output of the cell before the last, 1 that of the
    last) or on a node that was put in earlier (2, 3, ...), are concatenated and convolved to one width. The node, times
    a gate that begins at zero, is added to the cell's output: so a network computes what it did before it grew.

    If an increment's place is ``"nothing"``, its other decisions do not count; as a term's input, if its operation is.

    Args:
        mode: ``"cell"``: an increment comes to all normal or to all reduction cells. ``"macro"``: to one layer.
        cells: Normal cells of a stage, N.
        max_growth: Number of increments at most.
        terms: Operations of an increment at most, I_max.
        operations: The candidate operations.

    Raises:
        ValueError: If an argument has another value.

    Example:
        >>> space = PetridishSpace(cells=1)
        >>> child = space.grow(space.seed(), "normal", [(1, "max_pool_3x3"), (0, "identity")])
        >>> space.increments(child)
        (PetridishIncrement(place='normal', terms=((0, 'identity'), (1, 'max_pool_3x3'))),)
        >>> [len(space.candidates(child, place)) for place in space.places(child)]
        [21, 14]
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "mode": "cell",
        "cells": 3,
        "max_growth": 8,
        "terms": 3,
        "operations": OPERATIONS,
    }

    def __init__(
        self,
        mode: Mode = "cell",
        cells: int = 3,
        max_growth: int = 8,
        terms: int = 3,
        operations: Sequence[str] = OPERATIONS,
    ) -> None:
        check_choice("mode", mode, get_args(Mode))
        for name, value in {"cells": cells, "max_growth": max_growth, "terms": terms}.items():
            check_at_least(name, value, 1)
        check_operations(operations)
        self.mode: Mode = mode
        self.cells = cells
        self.max_growth = max_growth
        self.terms = terms
        self.operations = tuple(operations)

    @property
    def name(self) -> str:
        """``"petridish"``, followed by the settings that differ from the paper's: ``"petridish?mode=macro"``."""
        return space_name("petridish", self.settings, {key: getattr(self, key) for key in self.settings})

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per increment its place, then the input and the operation of every term."""
        return tuple(writing.decisions(self.all_places, self.max_growth, self.terms, self.operations))

    @property
    def all_places(self) -> tuple[Place, ...]:
        """``"normal"`` and ``"reduce"``, or every layer of the seed: ``"layer0"`` and so on."""
        return places_of(self.mode, self.cells)

    @property
    def size(self) -> int:
        """Number of canonical forms."""
        return count_growths(len(self.all_places), self.max_growth, self.terms, len(self.operations))

    def seed(self) -> Architecture:
        """Return the architecture that has not grown."""
        return self._written(())

    def increments(self, architecture: Architecture) -> tuple[PetridishIncrement, ...]:
        """Return what has grown, the oldest first, the terms of each increment in the order of the candidates."""
        self.validate(architecture)
        return self._read(architecture)

    def _read(self, architecture: Architecture) -> tuple[PetridishIncrement, ...]:
        return writing.read_increments(architecture.values, self.max_growth, self.terms, self.operations)

    def growths(self, architecture: Architecture) -> int:
        """Return the number of increments."""
        return len(self.increments(architecture))

    def places(self, architecture: Architecture) -> tuple[Place, ...]:
        """Return where an architecture can grow: nowhere if it has ``max_growth`` increments."""
        return self.all_places if self.growths(architecture) < self.max_growth else ()

    def candidates(self, architecture: Architecture, place: Place) -> Terms:
        """Return all inputs and operations that an increment at a place can have: 14 at first, 21 after one, ..."""
        self._check_place(place)
        return self._candidates(self.increments(architecture), place)

    def _candidates(self, increments: Iterable[PetridishIncrement], place: Place) -> Terms:
        nodes = sum(increment.place == place for increment in increments)
        return tuple((source, name) for source in range(FIRST_NODE + nodes) for name in self.operations)

    def grow(self, architecture: Architecture, place: Place, terms: Iterable[Term]) -> Architecture:
        """Return the architecture with one increment more.

        Args:
            architecture: A member of this space.
            place: One of ``places(architecture)``.
            terms: Some of ``candidates(architecture, place)``, without repeats; their order does not matter.

        Raises:
            ValueError: If it cannot grow so.
        """
        self._check_place(place)
        increments = self.increments(architecture)
        if len(increments) == self.max_growth:
            raise ValueError(f"Expected fewer than {self.max_growth} increments to grow but got {len(increments)}")
        added = PetridishIncrement(place, writing.sorted_terms(terms, self.operations))
        writing.check_terms(f"increment {len(increments)}", added, self._candidates(increments, place), self.terms)
        return replace(self._written((*increments, added)), provenance=architecture.provenance)

    def sample(self, generator: torch.Generator) -> Architecture:
        """Grow 0 to ``max_growth`` times, each as likely, at random places, by random numbers of random terms."""
        increments: list[PetridishIncrement] = []
        for _ in range(pick(range(self.max_growth + 1), generator)):
            place = pick(self.all_places, generator)
            terms = writing.draw_terms(self._candidates(increments, place), self.terms, generator)
            increments.append(PetridishIncrement(place, terms))
        return self._written(increments)

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Return a valid architecture with another canonical form, in which one decision has another value."""
        before = self.canonical(architecture)
        while True:
            mutant = super().mutate(architecture, generator)
            if self.canonical(mutant) != before:
                return mutant

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture with its increments in the order of the places, and terms in that of the candidates.

        The increments of one place keep their order, and with it the names of their weights.
        """
        places = self.all_places
        return self._written(sorted(self.increments(architecture), key=lambda one: places.index(one.place)))

    def validate(self, architecture: Architecture) -> None:
        """Raise a ``ValueError`` that names the reason unless ``architecture`` belongs to this space."""
        super().validate(architecture)
        increments = self._read(architecture)
        for k, increment in enumerate(increments):
            writing.check_terms(
                f"increment {k}", increment, self._candidates(increments[:k], increment.place), self.terms
            )
        writing.check_no_gaps(architecture.values, self.max_growth)

    def _check_place(self, place: Place) -> None:
        if place not in self.all_places:
            raise ValueError(f"Expected a place of {list(self.all_places)} but got {place!r}")

    def _written(self, increments: Sequence[PetridishIncrement]) -> Architecture:
        written = writing.write_increments(increments, self.max_growth, self.terms, self.operations)
        return Architecture(self.name, written)

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        filters: int = 16,
        repeat: int = 1,
        classes: int = 10,
        in_channels: int = 3,
        drop_path: float = 0.0,
        image_size: int = 32,
    ) -> PetridishNetwork:
        """Build the network; the defaults are those of the paper's search, its final ones have 32 filters and repeat 2.

        Connections are relative, so a layer can be repeated with all that has grown in it: each copy has own weights,
        and reads the outputs of the two cells right before it, which may be copies, too, and its own nodes.

        Args:
            architecture: A member of this space.
            auxiliary: Attach the auxiliary classifier to the last cell before the second reduction.
            weights_from: Nothing: there is no supernet. See ``promote`` and ``PetridishNetwork.inherit``.
            filters: Channels of the first cells, F; a reduction doubles them.
            repeat: How often every normal layer comes, one after the other.
            classes: Number of classes.
            in_channels: Channels of the images.
            drop_path: Probability of dropping a path in the last cell, less before it. ``RetrainModule`` changes it.
            image_size: Height and width of the images, for the auxiliary classifier alone.
        """
        if weights_from is not None:
            self._has_no_supernet()
        size = image_size if auxiliary else None
        scale = PetridishScale(self.mode, self.cells, filters, repeat, classes, in_channels, drop_path, size)
        return PetridishNetwork(self._growth(architecture), scale)

    def hallucinate(self, architecture: Architecture, places: Sequence[Place], **scale: Any) -> PetridishNetwork:
        """Build the network with a weak learner of all candidates at each place.

        It computes what the network without them does, and gives its weights the same gradients. Let it ``inherit``
        the network's weights. After the training, choose by ``select_terms(network.alphas[k])`` among
        ``network.candidates[k]``.

        Args:
            architecture: A member of this space that can grow.
            places: Some of ``places(architecture)``; for several weak learners at one place it comes several times.
            scale: As ``build`` takes it.

        Raises:
            ValueError: If the architecture cannot grow, or not there, or no place is given.
        """
        allowed = list(self.places(architecture))
        if not places or not set(places) <= set(allowed):
            raise ValueError(f"Expected some of the places {allowed} but got {list(places)}")
        parent = self.build(architecture, **scale)
        candidates = [self.candidates(architecture, place) for place in places]
        return PetridishNetwork(parent.growth, parent.scale, places, candidates)

    def promote(
        self, network: nn.Module, architecture: Architecture, candidate: int, terms: Iterable[Term]
    ) -> tuple[Architecture, PetridishNetwork]:
        """Make a child: terms of a weak learner become an increment, all other weak learners are dropped.

        The child computes what the network does. It has copies of the network's weights, those of the terms included;
        the projection that joins them is new, and the gate is zero. What the candidates' alphas were is in
        ``provenance["alphas"]``.

        Args:
            network: What ``hallucinate`` has made of the architecture, trained.
            architecture: The parent.
            candidate: Which of the network's weak learners: a number, as in ``network.places``.
            terms: Some of ``network.candidates[candidate]``.

        Raises:
            TypeError: If the network is something else.
            ValueError: If it is the network of another architecture, or has no such weak learner.
        """
        if not isinstance(network, PetridishNetwork):
            raise TypeError(f"Expected a PetridishNetwork, made by `hallucinate`, but got {type(network)}")
        if network.growth != self._growth(architecture):
            raise ValueError("Expected the network of the architecture but got one that has grown otherwise")
        child = self.grow(architecture, network.place(candidate), terms)
        named = map(term_name, network.candidates[candidate])
        alphas = dict(zip(named, network.alphas[candidate].tolist(), strict=True))
        return replace(child, provenance={**child.provenance, "alphas": alphas}), network.promoted(
            self._growth(child), candidate
        )

    def _growth(self, architecture: Architecture) -> Growth:
        return growth_of(self.increments(architecture))

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graphs of both cells, or in macro mode one graph of all layers.

        Nodes have the numbers by which increments read them; in macro mode the layer's number comes first.
        """
        growth = self._growth(architecture)
        if self.mode == "cell":
            return tuple(cell_graph(place, growth.get(place, ())) for place in self.all_places)
        return (network_graph(growth, self.cells),)
