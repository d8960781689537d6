"""The space of Petridish: growth, decisions, names, drawings. Names like "petridish T6" are those of the spec."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.plotting import to_dot
from lightning_nas.spaces import PetridishSpace, SearchSpace, get_space
from lightning_nas.spaces.petridish_operations import OPERATIONS
from lightning_nas.spaces.petridish_plan import PetridishIncrement
from lightning_nas.testing.space import SpaceContract

# The released network for CIFAR (spec, section 7), in the order in which nodes have been added to each cell.
RELEASED = [
    ("normal", [(1, "dil_conv_3x3"), (1, "avg_pool_3x3"), (1, "identity")]),
    ("normal", [(2, "sep_conv_3x3"), (1, "sep_conv_3x3"), (2, "dil_conv_3x3")]),
    ("reduce", [(1, "avg_pool_3x3"), (1, "sep_conv_5x5"), (0, "sep_conv_3x3")]),
    ("reduce", [(2, "dil_conv_5x5"), (1, "identity"), (1, "max_pool_3x3")]),
    ("reduce", [(0, "identity"), (1, "sep_conv_3x3"), (1, "identity")]),
]


def grown(space: PetridishSpace, increments: list[tuple[str, list[tuple[int, str]]]]) -> Architecture:
    architecture = space.seed()
    for place, terms in increments:
        architecture = space.grow(architecture, place, terms)
    return architecture


class PetridishContract(SpaceContract):
    has_supernet = False

    def scale(self) -> dict[str, Any]:
        return {"filters": 2, "classes": 10}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Turn round the terms of every increment, and fill in what does not count."""
        space = self.space()
        assert isinstance(space, PetridishSpace)
        values, last = dict(architecture.values), space.terms - 1
        for k in range(space.max_growth):
            if values[f"increment{k}/place"] == "nothing":
                values[f"increment{k}/operation0"] = space.operations[-1]
            elif values[f"increment{k}/operation{last}"] != "nothing":
                for t in range(space.terms):
                    for name in ("input", "operation"):
                        values[f"increment{k}/{name}{t}"] = architecture.values[f"increment{k}/{name}{last - t}"]
            else:
                values[f"increment{k}/input{last}"] = 0
        return super().equivalent(replace(architecture, values=values))


class TestCell(PetridishContract):
    def space(self) -> SearchSpace:
        return PetridishSpace(cells=1, max_growth=3)


class TestMacro(PetridishContract):
    def space(self) -> SearchSpace:
        return PetridishSpace("macro", cells=1, max_growth=4, terms=2)


class TestFewOperations(PetridishContract):
    def space(self) -> SearchSpace:
        return PetridishSpace(cells=1, max_growth=2, operations=("identity", "max_pool_3x3"))


class TestGrowth:
    def test_candidates_of_a_cell(self) -> None:  # petridish T6
        space = PetridishSpace()
        architecture = space.seed()
        assert space.places(architecture) == ("normal", "reduce")
        assert space.growths(architecture) == 0
        counts = []
        for _ in range(3):
            counts.append([len(space.candidates(architecture, place)) for place in ("normal", "reduce")])
            architecture = space.grow(architecture, "normal", [(1, "identity")])
        assert counts == [[14, 14], [21, 14], [28, 14]]
        assert space.candidates(space.seed(), "reduce")[13] == (1, "identity")
        assert space.candidates(architecture, "normal")[27] == (3, "identity")
        assert space.growths(architecture) == 3

    def test_places_of_macro(self) -> None:  # petridish T6
        space = PetridishSpace("macro")
        assert space.places(space.seed()) == tuple(f"layer{k}" for k in range(11))
        child = space.grow(space.seed(), "layer3", [(0, "identity")])
        counts = [len(space.candidates(child, place)) for place in space.places(child)]
        assert counts == [14, 14, 14, 21, *[14] * 7]

    def test_does_not_grow_further(self) -> None:
        space = PetridishSpace(max_growth=2)
        architecture = grown(space, [("normal", [(0, "identity")])] * 2)
        assert space.places(architecture) == ()
        with pytest.raises(ValueError, match="Expected fewer than 2 increments to grow but got 2"):
            space.grow(architecture, "normal", [(0, "identity")])

    def test_released_network(self) -> None:
        space = PetridishSpace()
        architecture = grown(space, RELEASED)
        assert space.growths(architecture) == 5
        assert [(one.place, set(one.terms)) for one in space.increments(architecture)] == [
            (place, set(terms)) for place, terms in RELEASED
        ]
        values = architecture.values
        assert [values[f"increment2/{name}"] for name in ("place", "input0", "operation0")] == [
            "reduce",
            0,
            "sep_conv_3x3",
        ]
        assert [values[f"increment{k}/place"] for k in range(5, 8)] == ["nothing"] * 3

    def test_terms_have_no_order(self) -> None:
        space = PetridishSpace()
        terms = [(1, "identity"), (0, "avg_pool_3x3"), (0, "sep_conv_5x5")]
        assert space.grow(space.seed(), "normal", terms) == space.grow(space.seed(), "normal", terms[::-1])
        (increment,) = space.increments(space.grow(space.seed(), "normal", terms))
        assert increment == PetridishIncrement("normal", (terms[2], terms[1], terms[0]))

    def test_provenance_is_kept(self) -> None:
        seed = replace(PetridishSpace().seed(), provenance={"seed": 3}, metrics={"val/accuracy": 0.5})
        child = PetridishSpace().grow(seed, "normal", [(1, "identity")])
        assert (child.provenance, child.metrics) == ({"seed": 3}, {})

    @pytest.mark.parametrize(
        ("place", "terms", "message"),
        [
            ("layer0", [(1, "identity")], r"Expected a place of \['normal', 'reduce'\] but got 'layer0'"),
            ("normal", [], r"Expected 1 to 3 distinct terms in increment 0 but got \[\]"),
            ("normal", [(1, "identity")] * 2, "Expected 1 to 3 distinct terms in increment 0"),
            ("normal", [(1, name) for name in OPERATIONS[:4]], "Expected 1 to 3 distinct terms in increment 0"),
            ("normal", [(2, "identity")], r"increment 0 to read inputs 0 to 1, which 'normal' .* but got \[\(2, 'id"),
            ("normal", [(-1, "identity")], r"increment 0 to read inputs 0 to 1, .* but got \[\(-1, 'identity'\)\]"),
            ("normal", [(1, "none")], r"by operations of \['sep_conv_3x3', .*\] but got \[\(1, 'none'\)\]"),
        ],
    )
    def test_wrong_increments(self, place: str, terms: list[tuple[int, str]], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PetridishSpace().grow(PetridishSpace().seed(), place, terms)

    def test_candidates_of_no_place(self) -> None:
        with pytest.raises(ValueError, match=r"Expected a place of \['normal', 'reduce'\] but got 'stem'"):
            PetridishSpace().candidates(PetridishSpace().seed(), "stem")


class TestDecisions:
    def test_names_and_choices(self) -> None:
        described = [(d.name, d.kind, d.choices) for d in PetridishSpace(max_growth=2, terms=2).decisions]
        assert described[:5] == [
            ("increment0/place", "input", ("nothing", "normal", "reduce")),
            ("increment0/input0", "input", (0, 1)),
            ("increment0/operation0", "operation", OPERATIONS),
            ("increment0/input1", "input", (0, 1)),
            ("increment0/operation1", "operation", ("nothing", *OPERATIONS)),
        ]
        assert described[6] == ("increment1/input0", "input", (0, 1, 2))
        assert len(described) == 10

    def _changed(self, architecture: Architecture, **values: Any) -> Architecture:
        changed = {name.replace("__", "/"): value for name, value in values.items()}
        return replace(architecture, values={**architecture.values, **changed})

    def test_gaps(self) -> None:
        space = PetridishSpace()
        architecture = self._changed(space.seed(), increment1__place="normal")
        with pytest.raises(ValueError, match="without gaps but got 'nothing' for 'increment0/place' and others after"):
            space.validate(architecture)

    def test_input_that_is_not_there_yet(self) -> None:
        """The second increment may read node 2 only if the first one is in the same place."""
        space = PetridishSpace()
        architecture = grown(space, [("normal", [(1, "identity")]), ("normal", [(2, "identity")])])
        moved = self._changed(architecture, increment0__place="reduce")
        with pytest.raises(ValueError, match="Expected increment 1 to read inputs 0 to 1, which 'normal' has at this"):
            space.validate(moved)

    def test_repeated_terms(self) -> None:
        space = PetridishSpace()
        architecture = space.grow(space.seed(), "normal", [(1, "identity")])
        with pytest.raises(ValueError, match="Expected 1 to 3 distinct terms in increment 0"):
            space.validate(self._changed(architecture, increment0__operation2="identity"))

    def test_order_of_places_does_not_matter(self) -> None:
        space = PetridishSpace()
        one, other = ("normal", [(1, "identity")]), ("reduce", [(0, "max_pool_3x3")])
        canonical = space.canonical(grown(space, [one, other]))
        assert canonical == space.canonical(grown(space, [other, one])) == grown(space, [one, other])
        third = ("normal", [(0, "identity")])
        assert space.canonical(grown(space, [one, third])) != space.canonical(grown(space, [third, one]))

    def test_size_is_the_number_of_canonical_forms(self) -> None:
        """Counted by growing in all ways."""
        space = PetridishSpace(cells=1, max_growth=2, terms=2, operations=("identity", "max_pool_3x3"))
        known = {space.seed()}
        for _ in range(2):
            known |= {
                space.canonical(space.grow(parent, place, terms))
                for parent in known
                for place in space.places(parent)
                for count in (1, 2)
                for terms in combinations(space.candidates(parent, place), count)
            }
        assert space.size == len(known) == 1 + 2 * 10 + 2 * 10 * 21 + 10 * 10

    def test_sampling(self) -> None:
        space, generator = PetridishSpace(max_growth=4), torch.Generator().manual_seed(0)
        drawn = [space.sample(generator) for _ in range(1000)]
        growths = torch.tensor([space.growths(a) for a in drawn]).bincount().tolist()
        assert growths == pytest.approx([200] * 5, abs=50)  # four standard deviations
        terms = torch.tensor([len(i.terms) for a in drawn for i in space.increments(a)]).bincount()
        assert (terms[1:] / terms.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.05)

    def test_mutations_reach_growth_and_back(self) -> None:
        space, generator = PetridishSpace(max_growth=2), torch.Generator().manual_seed(0)
        child = grown(space, [("normal", [(1, "identity")])])
        growths = {space.growths(space.mutate(child, generator)) for _ in range(100)}
        assert growths == {0, 1, 2}
        assert all(space.canonical(space.mutate(child, generator)) != child for _ in range(20))

    @pytest.mark.parametrize(
        ("space", "name"),
        [
            (PetridishSpace(), "petridish"),
            (PetridishSpace("macro", 2), "petridish?mode=macro&cells=2"),
            (PetridishSpace(max_growth=3, terms=2), "petridish?max_growth=3&terms=2"),
            (PetridishSpace(operations=["identity", "max_pool_3x3"]), "petridish?operations=identity,max_pool_3x3"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_names(self, space: PetridishSpace, name: str) -> None:
        assert space.name == name
        assert get_space(name).decisions == space.decisions

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"mode": "micro"}, r"Expected `mode` to be one of \['cell', 'macro'\] but got 'micro'"),
            ({"cells": 0}, "Expected `cells` to be at least 1 but got 0"),
            ({"max_growth": 0}, "Expected `max_growth` to be at least 1 but got 0"),
            ({"terms": 0}, "Expected `terms` to be at least 1 but got 0"),
            ({"operations": ()}, r"Expected `operations` to be distinct ones of .* but got \[\]"),
            ({"operations": ("identity", "identity")}, "Expected `operations` to be distinct ones of"),
            ({"operations": ("none",)}, r"Expected `operations` to be distinct ones of .* but got \['none'\]"),
        ],
    )
    def test_settings_out_of_range(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            PetridishSpace(**settings)


@pytest.mark.parametrize(
    "use",
    [
        lambda space: space.supernet(),
        lambda space: space.discretize({}),
        lambda space: space.mixtures(space.seed()),
        lambda space: space.build(space.seed(), weights_from=torch.nn.Identity()),
    ],
)
def test_there_is_no_supernet(use: Callable[[PetridishSpace], object]) -> None:
    with pytest.raises(ValueError, match="a space with a supernet but got 'petridish': its networks share no weights"):
        use(PetridishSpace())


class TestGraph:
    def test_cells(self) -> None:
        space = PetridishSpace()
        normal, reduce = space.graph(grown(space, RELEASED))
        assert (normal.name, normal.nodes) == ("normal", ("c_{k-1}", "2", "3", "c_{k}"))
        assert normal.edges == (
            ("c_{k-1}", "c_{k}", "sep_conv_3x3"),
            ("c_{k-1}", "c_{k}", "identity"),
            ("c_{k-1}", "2", "dil_conv_3x3"),
            ("c_{k-1}", "2", "avg_pool_3x3"),
            ("c_{k-1}", "2", "identity"),
            ("2", "c_{k}", ""),
            ("c_{k-1}", "3", "sep_conv_3x3"),
            ("2", "3", "sep_conv_3x3"),
            ("2", "3", "dil_conv_3x3"),
            ("3", "c_{k}", ""),
        )
        assert (reduce.name, reduce.nodes) == ("reduce", ("c_{k-2}", "c_{k-1}", "2", "3", "4", "c_{k}"))
        assert to_dot([normal, reduce]).count("->") == len(normal.edges) + len(reduce.edges)

    def test_network(self) -> None:
        space = PetridishSpace("macro", cells=1)
        (graph,) = space.graph(grown(space, [("layer0", [(0, "identity")]), ("layer2", [(0, "max_pool_3x3")])]))
        assert graph.nodes == ("image", "stem", "0.2", "0", "1 (reduce)", "2.2", "2", "3 (reduce)", "4", "head")
        assert graph.edges[:6] == (
            ("image", "stem", "conv_3x3"),
            ("stem", "0", "sep_conv_3x3"),
            ("stem", "0", "identity"),
            ("stem", "0.2", "identity"),
            ("0.2", "0", ""),
            ("0", "1 (reduce)", "sep_conv_3x3"),
        )
        assert ("0", "2.2", "max_pool_3x3") in graph.edges
        assert graph.edges[-1] == ("4", "head", "")
