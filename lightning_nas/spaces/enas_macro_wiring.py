"""What the layers of ENAS's macro networks read, and what must be computed for that.

Outputs are stored under numbers: 0 is the stem, ``k + 1`` is layer ``k``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from torch import Tensor

from lightning_nas.spaces.mixture import Mixture

SkipForm = Literal["official", "paper"]
SKIP_FORMS: tuple[SkipForm, ...] = ("official", "paper")
OFF, ON = 0, 1  # the candidates of a skip

# The stored outputs that a layer's skips read, with their weights; no weight is weight one.
Entries = Mapping[int, Tensor | None]


def boundaries(layers: int) -> tuple[int, int]:
    """Return the layers after which height and width are halved."""
    return layers // 3 - 1, 2 * (layers // 3) - 1


def first_skip(layer: int) -> int:
    """Return the row of a layer's first skip; skips are numbered layer by layer."""
    return layer * (layer - 1) // 2


def fixed_entries(form: SkipForm, layer: int, on: Collection[int]) -> Entries:
    """Return what a layer's skips read when those of the numbers ``on`` are on.

    Skip ``j`` reads the ``j``-th stored output in the official form, which counts the stem, and layer ``j`` in the
    paper's. In the paper's form a layer of which no skip is on reads the stem; layer 0 has no skips.
    """
    if form == "official":
        return dict.fromkeys(sorted(on))
    return dict.fromkeys([j + 1 for j in sorted(on)] or [0] if layer else [])


def mixed_entries(form: SkipForm, layer: int, skips: Mixture) -> Entries:
    """Return what a layer's skips read under a mixture.

    The weight of a skip is its weight for "on". In the paper's form the stem, read when nothing is selected, has the
    probability of that: the product of the weights for "off".
    """
    rows = [skips.row(first_skip(layer) + j) for j in range(layer)]
    shift = 0 if form == "official" else 1
    entries = {j + shift: weights[ON] for j, (weights, active) in enumerate(rows) if ON in active}
    if form == "official" or layer == 0 or any(active == (ON,) for _, active in rows):
        return entries
    none = rows[0][0].new_ones(())
    for weights, active in rows:
        none = none * weights[OFF] if OFF in active else none
    return {0: none, **entries}


@dataclass(frozen=True)
class Wiring:
    """Which outputs a network needs.

    Args:
        reads: For each layer the stored outputs that it reads.
    """

    reads: tuple[frozenset[int], ...]

    @classmethod
    def of(cls, form: SkipForm, entries: Sequence[Entries]) -> Self:
        """Return the wiring of a network by what its layers' skips read."""
        # layer k reads output k, of the layer before it, in the official form; layer 0 has the stem only
        return cls(
            tuple(frozenset(own) | ({k} if form == "official" or k == 0 else set()) for k, own in enumerate(entries))
        )

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers on which the last layer depends, itself included."""
        needed = {len(self.reads)}
        for layer in reversed(range(len(self.reads))):
            if layer + 1 in needed:
                needed |= self.reads[layer]
        return tuple(layer for layer in range(len(self.reads)) if layer + 1 in needed)

    @cached_property
    def reduced(self) -> dict[int, tuple[int, ...]]:
        """For each boundary the stored outputs that later layers read, so that must be halved there."""
        return {last: tuple(sorted(self._read_across(last))) for last in boundaries(len(self.reads))}

    def _read_across(self, last: int) -> Iterable[int]:
        later = (self.reads[layer] for layer in self.layers if layer > last)
        return {source for sources in later for source in sources if source <= last + 1}
