"""Random nested models: what is built is what the supernet computes, with the parameters that a plain recursion counts.

A model is drawn as a description: a tree of tuples whose first entry says what it is. Names of decisions and numbers of
parameters are restated here from the description alone.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.spaces import Choice, InputChoice, ModuleSpace, OpChoice, RepeatChoice

WIDTH = 3
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "same": nn.Identity}
Description = tuple[Any, ...]
Place = tuple[str, ...]
LEAVES = st.one_of(st.just(("linear",)), st.sampled_from([(name,) for name in ACTIVATIONS]))


def keyed(form: str) -> st.SearchStrategy[str | None]:
    """No key, or one that all choices of this form share."""
    return st.one_of(st.none(), st.just(f"shared {form}"))


def parts(depth: int) -> st.SearchStrategy[Description]:
    """Draw a few modules one after the other, some of them twice."""
    part = LEAVES if depth == 0 else st.one_of(LEAVES, choices(depth))
    some = st.lists(st.one_of(part, st.tuples(st.just("twice"), part)), min_size=1, max_size=2)
    return st.tuples(st.just("sequence"), some)


def choices(depth: int) -> st.SearchStrategy[Description]:
    """Draw a choice whose candidates, blocks or tensors hold up to ``depth - 1`` more levels of choices."""
    return st.one_of(
        st.integers(1, 3).flatmap(partial(operations, depth)),
        st.sampled_from([(0, 1), (1, 2), (2, 0)]).flatmap(partial(repeats, depth)),
        st.sampled_from([(2, 1, "sum"), (3, 2, "sum"), (3, 2, "concat")]).flatmap(partial(inputs, depth)),
    )


def operations(depth: int, count: int) -> st.SearchStrategy[Description]:
    candidates = st.lists(parts(depth - 1), min_size=count, max_size=count)
    return st.tuples(st.just("operations"), keyed(f"{count} operations"), candidates)


def repeats(depth: int, depths: tuple[int, ...]) -> st.SearchStrategy[Description]:
    return st.tuples(st.just("repeat"), keyed(f"depths {depths}"), st.just(depths), parts(depth - 1))


def inputs(depth: int, form: tuple[int, int, str]) -> st.SearchStrategy[Description]:
    tensors = st.lists(parts(depth - 1), min_size=form[0], max_size=form[0])
    return st.tuples(st.just("inputs"), keyed(f"inputs {form}"), st.just(form), tensors)


class Branches(nn.Module):
    """Some of the outputs of several branches, brought back to one width."""

    def __init__(self, branches: list[nn.Module], choice: InputChoice) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.choice = choice
        self.merge = nn.Linear(choice.n_chosen * WIDTH, WIDTH) if choice.ordered else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.merge(self.choice([branch(x) for branch in self.branches]))
        return output


def make(description: Description) -> nn.Module:
    """Make the model of a description."""
    match description:
        case "linear", *_:
            return nn.Linear(WIDTH, WIDTH)
        case "sequence", several:
            return nn.Sequential(*map(make, several))
        case "twice", part:
            return nn.Sequential(*[make(part)] * 2)
        case "operations", key, candidates:
            return OpChoice({f"op{k}": make(candidate) for k, candidate in enumerate(candidates)}, key)
        case "repeat", key, depths, block:
            return RepeatChoice(partial(make, block), depths, key)
        case "inputs", key, (count, chosen, reduction), tensors:
            return Branches([make(tensor) for tensor in tensors], InputChoice(count, chosen, key, reduction))
        case name, *_:
            return ACTIVATIONS[name]()
    raise AssertionError(description)


def count(description: Description, values: Mapping[str, Any], place: Place = ()) -> int:
    """Return the parameters of the model that is built for an architecture's values."""

    def inside(parts: list[Description], *names: str) -> int:
        return sum(count(part, values, (*place, *names, str(k))) for k, part in enumerate(parts))

    match description:
        case "linear", *_:
            return WIDTH * WIDTH + WIDTH
        case "sequence", several:
            return inside(several)
        case "twice", part:
            return inside([part])
        case "operations", key, candidates:
            name = values[key or "/".join(place)]
            return count(candidates[int(name.removeprefix("op"))], values, (*place, name))
        case "repeat", key, _, block:
            return inside([block] * values[key or "/".join(place)])
        case "inputs", _, (_, chosen, reduction), tensors:
            merge = chosen * WIDTH * WIDTH + WIDTH if reduction == "concat" else 0
            return inside(tensors, "branches") + merge
    return 0


def names(description: Description, place: Place = ()) -> Iterator[str]:
    """Yield the names of all decisions of a description."""
    match description:
        case "sequence", several:
            for k, part in enumerate(several):
                yield from names(part, (*place, str(k)))
        case "twice", part:
            yield from names(part, (*place, "0"))
        case "operations", key, candidates:
            yield key or "/".join(place)
            for k, candidate in enumerate(candidates):
                yield from names(candidate, (*place, f"op{k}"))
        case "repeat", key, depths, block:
            yield key or "/".join(place)
            for k in range(max(depths)):
                yield from names(block, (*place, str(k)))
        case "inputs", key, (_, chosen, _), tensors:
            name = key or "/".join((*place, "choice"))
            yield from (name,) if chosen == 1 else (f"{name}/{slot}" for slot in range(chosen))
            for k, tensor in enumerate(tensors):
                yield from names(tensor, (*place, "branches", str(k)))


MODELS = choices(3).map(lambda choice: ("sequence", [("linear",), choice, ("linear",)]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)], ids=str)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(description=MODELS, seed=st.integers(0, 9))
def test_built_models_compute_what_the_supernet_does(
    dtype: torch.dtype, tolerance: float, description: Description, seed: int
) -> None:
    space, generator = ModuleSpace(partial(make, description)), torch.Generator().manual_seed(seed)
    assert {decision.name for decision in space.decisions} == set(names(description))
    supernet, x = space.supernet().to(dtype), torch.randn(4, WIDTH, generator=generator).to(dtype)
    for _ in range(4):
        architecture = space.sample(generator)
        canonical = space.canonical(architecture)
        expected = supernet(x, space.mixtures(architecture))
        built, also = (space.build(a, weights_from=supernet) for a in (architecture, canonical))
        assert_close(built(x), expected, rtol=tolerance, atol=tolerance)
        assert_close(also(x), expected, rtol=tolerance, atol=tolerance)
        assert not [module for module in built.modules() if isinstance(module, Choice)]
        assert all(name.split(".")[-1] in ("weight", "bias") for name in built.state_dict())
        assert not {"candidates", "blocks"} & {part for name in built.state_dict() for part in name.split(".")}
        assert sum(p.numel() for p in built.parameters()) == count(description, architecture.values)


def test_the_models_are_as_various_as_meant() -> None:
    """Every kind of choice is nested in every other, and keys are shared."""
    seen: set[tuple[str, str]] = set()
    shared = 0

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(description=MODELS)
    def look(description: Description) -> None:
        nonlocal shared
        found = list(names(description))
        shared += len(found) > len(set(found))
        seen.update(nestings(description))

    look()
    kinds = ("operations", "repeat", "inputs")
    assert {(outer, inner) for outer in kinds for inner in kinds} <= seen
    assert shared > 3


def nestings(description: Description, around: str = "") -> Iterator[tuple[str, str]]:
    kind = description[0]
    if kind in ("operations", "repeat", "inputs"):
        yield around, kind
        around = kind
    for part in description[1:]:
        for inner in part if isinstance(part, list) else [part]:
            if isinstance(inner, tuple) and inner and isinstance(inner[0], str):
                yield from nestings(inner, around)
