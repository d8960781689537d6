"""Increments as values of decisions, and back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile

import torch

from lightning_nas.architecture import Decision, Value
from lightning_nas.operations.weak_learner import Term
from lightning_nas.spaces.base import pick
from lightning_nas.spaces.petridish_plan import FIRST_NODE, LAST, PetridishIncrement, Place, Terms

NOTHING = "nothing"  # the place of an increment, or the operation of a term, that is not there


def decisions(places: Sequence[Place], max_growth: int, terms: int, operations: Sequence[str]) -> Iterator[Decision]:
    """Yield the decisions of all increments: a place, then the input and the operation of every term."""
    for k in range(max_growth):
        yield Decision(f"increment{k}/place", (NOTHING, *places), "input")
        for term in range(terms):
            yield Decision(f"increment{k}/input{term}", tuple(range(FIRST_NODE + k)), "input")
            nothing = (NOTHING,) if term else ()
            yield Decision(f"increment{k}/operation{term}", (*nothing, *operations), "operation")


def draw_terms(candidates: Terms, most: int, generator: torch.Generator) -> Terms:
    """Draw 1 to ``most`` candidates, each number as likely."""
    count = pick(range(1, min(most, len(candidates)) + 1), generator)
    drawn = torch.randperm(len(candidates), generator=generator)[:count].tolist()
    return tuple(candidates[k] for k in sorted(drawn))


def sorted_terms(terms: Iterable[Term], operations: Sequence[str]) -> Terms:
    """Return terms by input, then by operation; unknown operations come first."""
    order = {name: k for k, name in enumerate(operations)}
    pairs = [(source, operation) for source, operation in terms]
    return tuple(sorted(pairs, key=lambda term: (term[0], order.get(term[1], -1))))


def read_increments(
    values: Mapping[str, Value], max_growth: int, terms: int, operations: Sequence[str]
) -> tuple[PetridishIncrement, ...]:
    """Return the increments before the first one that is not there."""
    there = takewhile(lambda k: values[f"increment{k}/place"] != NOTHING, range(max_growth))
    return tuple(
        PetridishIncrement(
            str(values[f"increment{k}/place"]),
            sorted_terms((pair for t in range(terms) for pair in _term(values, k, t)), operations),
        )
        for k in there
    )


def _term(values: Mapping[str, Value], increment: int, term: int) -> list[Term]:
    operation = values[f"increment{increment}/operation{term}"]
    return [] if operation == NOTHING else [(int(values[f"increment{increment}/input{term}"]), str(operation))]


def write_increments(
    increments: Sequence[PetridishIncrement], max_growth: int, terms: int, operations: Sequence[str]
) -> dict[str, Value]:
    """Return the values of all decisions; those of what is not there are always the same."""
    absent = PetridishIncrement(NOTHING, ((LAST, operations[0]),))
    padded = [*increments, *[absent] * (max_growth - len(increments))]
    values: dict[str, Value] = {}
    for k, increment in enumerate(padded):
        values[f"increment{k}/place"] = increment.place
        written = [*increment.terms, *[(LAST, NOTHING)] * (terms - len(increment.terms))]
        for t, (source, operation) in enumerate(written):
            values |= {f"increment{k}/input{t}": source, f"increment{k}/operation{t}": operation}
    return values


def check_no_gaps(values: Mapping[str, Value], max_growth: int) -> None:
    """Raise a ``ValueError`` if an increment follows one that is not there."""
    absent = [k for k in range(max_growth) if values[f"increment{k}/place"] == NOTHING]
    if absent and absent != list(range(absent[0], max_growth)):
        raise ValueError(
            f"Expected increments without gaps but got {NOTHING!r} for 'increment{absent[0]}/place' and others after it"
        )


def check_terms(name: str, increment: PetridishIncrement, candidates: Terms, most: int) -> None:
    """Raise a ``ValueError`` unless an increment has distinct terms among the candidates, and as many as allowed."""
    terms = list(increment.terms)
    if unknown := [term for term in terms if term not in candidates]:
        raise ValueError(
            f"Expected {name} to read inputs 0 to {candidates[-1][0]}, which {increment.place!r} has at this growth, "
            f"by operations of {[name for source, name in candidates if source == 0]} but got {unknown}"
        )
    if not 0 < len(terms) <= most or len(set(terms)) < len(terms):
        raise ValueError(f"Expected 1 to {most} distinct terms in {name} but got {terms}")
