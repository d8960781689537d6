"""The search spaces of NASNet, AmoebaNet and PNAS cells (arXiv 1707.07012, 1802.01548, 1712.00559)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.checks import check_at_least, check_choice, check_fraction
from lightning_nas.operations.nasnet import BUILDERS, PNAS_OPERATIONS
from lightning_nas.spaces import nasnet_rows
from lightning_nas.spaces.base import pick
from lightning_nas.spaces.genotype import CELLS, Genotype
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.nasnet_network import NasnetNetwork, NasnetScale
from lightning_nas.spaces.nasnet_plan import Kind, Layout
from lightning_nas.spaces.nasnet_wiring import OUTSIDE, Block, NasnetWiring, Pair
from lightning_nas.spaces.settings import Setting, space_name
from lightning_nas.spaces.unshared_space import UnsharedSpace

Stem = Literal["cifar", "imagenet"]
# Channels, cells per stage and classes of the papers' networks with one and two cells: PNASNet-5 and NASNet-A, "mobile"
PAPER: dict[tuple[str, Stem], tuple[int, int, int]] = {
    ("one", "cifar"): (48, 3, 10),
    ("one", "imagenet"): (54, 3, 1000),
    ("two", "cifar"): (32, 6, 10),
    ("two", "imagenet"): (44, 4, 1000),
}
SMALLEST = {"cifar": 2, "imagenet": 8}  # channels that a factorised reduction can halve, in the first stem cell too


class NasnetSpace(UnsharedSpace):
    """Cells of blocks, each of which adds two operations on two earlier states; cells are stacked to a network.

    States are numbered: 0 is what the cell before last put out, 1 what the last one did, ``k + 2`` is block ``k``. Both
    inputs of a block may be the same. By default this is the space of PNAS: one cell of five blocks that puts out all
    of them, with stride 2 where the network halves the image. AmoebaNet is
    ``NasnetSpace(operations=AMOEBANET_OPERATIONS, cells="two", concat="loose_ends")``.

    Args:
        blocks: Blocks of a cell.
        operations: Candidates, of ``lightning_nas.operations.nasnet.BUILDERS``.
        cells: ``"one"`` cell for both strides, or ``"two"``: one that keeps the size and one that halves it.
        concat: What a cell puts out: ``"all"`` blocks, the ``"loose_ends"`` that no block reads, or these and the
            states that are ``"chosen"`` besides, among them the inputs of the cell, as in the published NASNet-A and
            AmoebaNet-A. Every choice is a network.

    Raises:
        ValueError: If an operation is unknown or twice there, or another argument is not one of the above.

    Example:
        >>> space = NasnetSpace(blocks=1)
        >>> space.name, space.size
        ('nasnet?blocks=1', 256)
        >>> space.expand(torch.zeros(1, 0, dtype=torch.long)).shape  # without the order of the two pairs
        torch.Size([136, 4])
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "blocks": 5,
        "operations": PNAS_OPERATIONS,
        "cells": "one",
        "concat": "all",
    }

    def __init__(
        self,
        blocks: int = 5,
        operations: Sequence[str] = PNAS_OPERATIONS,
        cells: Literal["one", "two"] = "one",
        concat: Literal["all", "loose_ends", "chosen"] = "all",
    ) -> None:
        check_at_least("blocks", blocks, 1)
        if unknown := set(operations) - BUILDERS.keys():
            raise ValueError(f"Expected `operations` of {sorted(BUILDERS)} but got {sorted(unknown)}")
        if not operations or len(set(operations)) != len(operations):
            raise ValueError(f"Expected distinct `operations`, one at least, but got {list(operations)}")
        check_choice("cells", cells, ("one", "two"))
        check_choice("concat", concat, ("all", "loose_ends", "chosen"))
        self.blocks = blocks
        self.operations = tuple(operations)
        self.cells = cells
        self.concat = concat

    @property
    def name(self) -> str:
        """``"nasnet"``, followed by the settings that differ from those of PNAS: ``"nasnet?blocks=2"``."""
        return space_name("nasnet", self.settings, {key: getattr(self, key) for key in self.settings})

    def with_blocks(self, blocks: int) -> "NasnetSpace":
        """Return the space that differs in the number of blocks alone."""
        return NasnetSpace(blocks, self.operations, self.cells, self.concat)

    @property
    def cell_names(self) -> tuple[str, ...]:
        """The cells that are searched, with which decisions begin: ``"cell"``, or ``"normal"`` and ``"reduce"``."""
        return ("cell",) if self.cells == "one" else CELLS

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """Per cell and block: input 0, input 1, operation 0, operation 1; then a flag for every state to put out."""
        return tuple(decision for cell in self.cell_names for decision in self._decisions_of(cell))

    def _decisions_of(self, cell: str) -> Iterator[Decision]:
        for i in range(self.blocks):
            inputs = tuple(range(i + OUTSIDE))
            yield from (Decision(f"{cell}/node{i}/input{k}", inputs, "input") for k in range(2))
            yield from (Decision(f"{cell}/node{i}/operation{k}", self.operations, "operation") for k in range(2))
        for state in range(self.blocks + OUTSIDE if self.concat == "chosen" else 0):
            yield Decision(f"{cell}/output{state}", (False, True), "flag")

    def mutate(self, architecture: Architecture, generator: torch.Generator) -> Architecture:
        """Return an architecture with another input or another operation in one place: AmoebaNet's mutations.

        Either is equally likely, and then every place, and every value but the one it has. With ``concat="chosen"`` a
        third mutation, as likely as the others, puts out a state or does so no longer.
        """
        self.validate(architecture)
        kinds = self._mutable(architecture)
        decision = pick(kinds[pick(list(kinds), generator)], generator)
        others = [choice for choice in decision.choices if choice != architecture.values[decision.name]]
        return Architecture(self.name, {**architecture.values, decision.name: pick(others, generator)})

    def _mutable(self, architecture: Architecture) -> dict[str, list[Decision]]:
        """Return by kind the decisions that can change the cell: loose ends are put out whatever their flag says."""
        kinds: dict[str, list[Decision]] = {}
        loose = {f"{cell}/output{j}" for cell, w in self.wirings(architecture).items() for j in w.loose_ends}
        for decision in self.decisions:
            if len(decision.choices) > 1 and decision.name not in loose:
                kinds.setdefault(decision.kind, []).append(decision)
        return kinds

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the way to write an architecture that all equal ones share.

        Equal are architectures that differ in the order of a block's two pairs, in the order of the blocks, or in flags
        of states that are put out anyway.
        """
        self.validate(architecture)
        wirings = {cell: wiring.canonical(self.operations) for cell, wiring in self.wirings(architecture).items()}
        return self._architecture(wirings, {})

    def wirings(self, architecture: Architecture) -> dict[str, NasnetWiring]:
        """Return what the cells compute, by the names in ``cell_names``."""
        return {cell: self._wiring(cell, architecture.values) for cell in self.cell_names}

    def _wiring(self, cell: str, values: Mapping[str, Value]) -> NasnetWiring:
        def pair(i: int, k: int) -> Pair:
            return int(values[f"{cell}/node{i}/input{k}"]), str(values[f"{cell}/node{i}/operation{k}"])

        blocks = tuple((pair(i, 0), pair(i, 1)) for i in range(self.blocks))
        chosen = {s for s in range(self.blocks + OUTSIDE) if values.get(f"{cell}/output{s}")}
        return NasnetWiring(blocks, self._outputs(blocks, chosen))

    def _outputs(self, blocks: tuple[Block, ...], chosen: set[int]) -> tuple[int, ...]:
        if self.concat == "all":
            return tuple(range(OUTSIDE, self.blocks + OUTSIDE))
        return tuple(sorted(chosen.union(NasnetWiring(blocks, ()).loose_ends)))

    def _architecture(self, wirings: Mapping[str, NasnetWiring], provenance: Mapping[str, Any]) -> Architecture:
        values: dict[str, Value] = {}
        for cell, wiring in wirings.items():
            for i, block in enumerate(wiring.blocks):
                values |= {f"{cell}/node{i}/input{k}": source for k, (source, _) in enumerate(block)}
                values |= {f"{cell}/node{i}/operation{k}": operation for k, (_, operation) in enumerate(block)}
            if self.concat == "chosen":
                states = range(self.blocks + OUTSIDE)
                values |= {f"{cell}/output{state}": state in wiring.outputs for state in states}
        return Architecture(self.name, values, provenance)

    def from_genotype(
        self,
        normal: Sequence[tuple[str, int]],
        reduce: Sequence[tuple[str, int]] | None = None,
        *,
        normal_concat: Sequence[int] | None = None,
        reduce_concat: Sequence[int] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Architecture:
        """Make an architecture from the field's notation: flat lists of ``(operation, input)``, two pairs a block.

        Args:
            normal: The cell, or the one that keeps the size.
            reduce: The cell that halves the size, where there are two cells.
            normal_concat: The states that the cell puts out; by default what the space says without any choice.
            reduce_concat: The same of the cell that halves the size.
            provenance: Where the architecture comes from.

        Raises:
            ValueError: If the lists have another length, or something in them is not of this space.
        """
        if (reduce is None) is (self.cells == "two"):
            raise ValueError(f"Expected {self.cells} of `normal` and `reduce` for {self.name!r}")
        cells = zip(self.cell_names, (normal, reduce or ()), (normal_concat, reduce_concat), strict=False)
        wirings = {cell: self._read(cell, pairs, concat) for cell, pairs, concat in cells}
        architecture = self._architecture(wirings, provenance or {})
        self.validate(architecture)
        return architecture

    def _read(self, cell: str, pairs: Sequence[tuple[str, int]], concat: Sequence[int] | None) -> NasnetWiring:
        if len(pairs) != 2 * self.blocks:
            raise ValueError(f"Expected {2 * self.blocks} pairs for the {cell} cell but got {len(pairs)}")
        flat: list[Pair] = [(source, operation) for operation, source in pairs]
        blocks = tuple(zip(flat[::2], flat[1::2], strict=True))
        outputs = self._outputs(blocks, set(concat or ()) if self.concat == "chosen" else set())
        if concat is not None and tuple(sorted(concat)) != outputs:
            raise ValueError(f"Expected the {cell} cell to put out {list(outputs)} but got {sorted(concat)}")
        return NasnetWiring(blocks, outputs)

    def genotype(self, architecture: Architecture) -> Genotype:
        """Return the architecture in the field's notation; one cell is there twice."""
        self.validate(architecture)
        wirings = self._by_kind(architecture)
        flat = {kind: [(name, j) for block in wiring.blocks for j, name in block] for kind, wiring in wirings.items()}
        normal, reduce = wirings["normal"], wirings["reduce"]
        return Genotype(flat["normal"], list(normal.outputs), flat["reduce"], list(reduce.outputs))

    def _by_kind(self, architecture: Architecture) -> dict[Kind, NasnetWiring]:
        wirings = list(self.wirings(architecture).values())
        return {"normal": wirings[0], "reduce": wirings[-1]}

    def rows(self, architectures: Sequence[Architecture]) -> Tensor:
        """Return architectures as rows of integers ``[n, 4 * blocks]``: I1, I2, O1, O2 of every block.

        Raises:
            ValueError: If the space has two cells or chosen outputs, which the rows do not hold.
        """
        self._check_rows()
        for architecture in architectures:
            self.validate(architecture)
        places = [(d.name, {choice: k for k, choice in enumerate(d.choices)}) for d in self.decisions]
        values = [[index[architecture.values[name]] for name, index in places] for architecture in architectures]
        return torch.tensor(values, dtype=torch.long).reshape(len(values), len(places))

    def architectures(self, rows: Tensor) -> list[Architecture]:
        """Return the architectures of rows, as many blocks as these have: members of ``with_blocks(...)``."""
        self._check_rows()
        space = self.with_blocks(nasnet_rows.count_blocks(rows))
        choices = [(decision.name, decision.choices) for decision in space.decisions]
        return [
            Architecture(space.name, {name: options[k] for (name, options), k in zip(choices, row, strict=True)})
            for row in rows.tolist()
        ]

    def expand(self, rows: Tensor) -> Tensor:
        """Return the rows of all children that have one block more, ``lightning_nas.spaces.nasnet_rows.expand``."""
        self._check_rows()
        return nasnet_rows.expand(rows, len(self.operations))

    def canonical_rows(self, rows: Tensor) -> Tensor:
        """Return the rows of the canonical forms, ``lightning_nas.spaces.nasnet_rows.canonical_rows``."""
        self._check_rows()
        return nasnet_rows.canonical_rows(rows, len(self.operations))

    def _check_rows(self) -> None:
        if self.cells == "two" or self.concat == "chosen":
            raise ValueError(f"Expected a space of one cell without chosen outputs for rows but got {self.name!r}")

    def build(  # type: ignore[override]  # the scale is spelled out
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        channels: int | None = None,
        cells_per_stage: int | None = None,
        classes: int | None = None,
        in_channels: int = 3,
        stem: Stem = "cifar",
        layout: Layout | None = None,
        stem_channels: int | None = None,
        dropout: float | None = None,
        image_size: int | None = None,
        norm_momentum: float = 0.1,
    ) -> nn.Module:
        """Build the network; the defaults are the papers' for its stem, PNASNet-5's for one cell, NASNet-A's for two.

        What the classifier does not depend on is left out: an input that a cell does not read is not prepared for it,
        and a cell that no later one reads is not there. Images may have any size.

        Args:
            architecture: A member of this space.
            auxiliary: Attach the auxiliary classifier to the last cell of the second stage, or the last one before it
                that the classifier depends on.
            weights_from: Nothing: there is no supernet.
            channels: Channels of the first cells, F: 48 (CIFAR) and 54 (ImageNet) for one cell, 32 and 44 for two.
            cells_per_stage: Cells of each of the three stages, N: 3 and 3, 6 and 4. PNAS trains its children with
                N=2 and F=24, AmoebaNet with N=3 and F=24; the large ImageNet networks are N=4 F=216 and N=6 F=168.
            classes: Number of classes: 10, 1000.
            in_channels: Channels of the images.
            stem: ``"cifar"`` keeps the image size. ``"imagenet"`` divides it by 8: a convolution with stride 2 and
                two cells with stride 2, a quarter and half the channels.
            layout: ``"pnas"``, 3N cells: the first cell of the second and third stage has stride 2. ``"nasnet"``,
                3N + 2 cells: a reduction cell comes before these stages. By default ``"pnas"`` for one cell and
                ``"nasnet"`` for two.
            stem_channels: Channels of the stem's convolution: three times ``channels``, or 32 (ImageNet; 96 in the
                large networks).
            dropout: Share of the features that the classifier's dropout sets to zero: 0, or 0.5 (ImageNet).
            image_size: Height and width of the images, for the auxiliary classifier alone: 32, 224.
            norm_momentum: Of all BatchNorms. 0.0003 is that of the papers' ImageNet networks, which need a hundred
                thousand steps of training with it.
        """
        self.validate(architecture)
        if weights_from is not None:
            self._has_no_supernet()
        check_choice("stem", stem, list(SMALLEST))
        layout = layout or ("pnas" if self.cells == "one" else "nasnet")
        check_choice("layout", layout, ("pnas", "nasnet"))
        defaults = zip((channels, cells_per_stage, classes), PAPER[self.cells, stem], strict=True)
        channels, cells_per_stage, classes = (default if given is None else given for given, default in defaults)
        imagenet = stem == "imagenet"
        if stem_channels is None:
            stem_channels = 32 if imagenet else 3 * channels
        if image_size is None:
            image_size = 224 if imagenet else 32
        if dropout is None:
            dropout = 0.5 if imagenet else 0.0
        scale = NasnetScale(channels, cells_per_stage, classes, in_channels, stem_channels, imagenet, layout)
        check_at_least("channels", channels, SMALLEST[stem], "reductions halve them")
        check_fraction("norm_momentum", norm_momentum)
        return NasnetNetwork(
            self._by_kind(architecture),
            scale,
            partial(nn.BatchNorm2d, eps=1e-3 if imagenet else 1e-5, momentum=norm_momentum),
            dropout=dropout,
            image_size=image_size if auxiliary else None,
        )

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return the graph of every cell."""
        self.validate(architecture)
        return tuple(self._graph(cell, wiring) for cell, wiring in self.wirings(architecture).items())

    def _graph(self, cell: str, wiring: NasnetWiring) -> CellGraph:
        names = ["c_{k-2}", "c_{k-1}", *(str(i) for i in range(self.blocks)), "c_{k}"]
        blocks = enumerate(wiring.blocks)
        edges = [(names[source], str(i), operation) for i, block in blocks for source, operation in block]
        return CellGraph(cell, tuple(names), (*edges, *((names[j], names[-1], "") for j in wiring.outputs)))
