"""Where a network may grow, and by what."""

from collections.abc import Sequence
from typing import Literal

import torch

from lightning_nas.architecture import Architecture
from lightning_nas.operations.weak_learner import Term
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.strategies.growing_space import GrowingSpace, as_growing


def check_within(space: SearchSpace, name: Literal["max_growth", "terms"], value: int, least: int) -> None:
    """Raise ValueError unless all networks of a space can grow so often, or by so many operations at once."""
    most = getattr(as_growing(space), name)
    if not least <= value <= most:
        raise ValueError(f"Expected `{name}` to be {least} to {most}, as {space.name!r} allows, but got {value}")


def candidate_places(
    space: GrowingSpace, architecture: Architecture, count: int, generator: torch.Generator
) -> tuple[str, ...]:
    """Return the places of the candidates of a hallucination; a place may come more than once.

    Args:
        space: How the network grows.
        architecture: The network.
        count: Number of candidates: of each kind of cell, or in macro mode in all, spread evenly over the places, those
            left over at different places at random.
        generator: Draws these places.
    """
    places = tuple(space.places(architecture))
    if space.mode == "cell":
        return places * count
    everywhere, more = divmod(count, len(places))
    lucky = torch.randperm(len(places), generator=generator)[:more].tolist()
    return places * everywhere + tuple(places[k] for k in sorted(lucky))


def draw_terms(candidates: Sequence[Term], count: int, generator: torch.Generator) -> list[Term]:
    """Return so many different candidates, or all where there are fewer, in their order."""
    order = torch.randperm(len(candidates), generator=generator)[:count].tolist()
    return [candidates[k] for k in sorted(order)]


def checked_terms(terms: Sequence[Term], candidates: Sequence[Term], most: int, place: str) -> list[Term]:
    """Return what was selected at a place.

    Raises:
        ValueError: If it is more than allowed, or no candidates of the place, or one of them twice.
    """
    chosen = [(source, operation) for source, operation in terms]
    if len(chosen) > most or len({*chosen}) != len(chosen) or not {*chosen} <= {*candidates}:
        raise ValueError(f"Expected at most {most} different candidates of place {place!r} but got {chosen}")
    return chosen
