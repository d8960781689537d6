"""The DARTS space: its members, their notation and their number."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture, Value
from lightning_nas.spaces import DartsSpace, NasBench201Space, SearchSpace
from lightning_nas.spaces.darts import PRIMITIVES
from lightning_nas.spaces.genotype import CELLS
from lightning_nas.testing.space import SpaceContract

TINY = DartsSpace(nodes=2, operations=("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"))
NORMAL = [("skip_connect", 1), ("max_pool_3x3", 0), ("sep_conv_3x3", 2), ("skip_connect", 0)]
REDUCE = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("max_pool_3x3", 1), ("skip_connect", 2)]


class DartsContract(SpaceContract):
    def scale(self) -> dict[str, Any]:
        return {"channels": 4, "layers": 3, "classes": 10}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Swap the two pairs of the last node of the reduction cell."""
        values = dict(architecture.values)
        last = f"reduce/node{max(int(name.split('/')[1][4:]) for name in values)}"
        for kind in ("input", "operation"):
            one, two = f"{last}/{kind}0", f"{last}/{kind}1"
            values[one], values[two] = values[two], values[one]
        return replace(architecture, values=values, provenance={"written": "otherwise"})


class TestDartsSpace(DartsContract):
    def space(self) -> SearchSpace:
        return DartsSpace()


class TestSmallSpaceWithoutNone(DartsContract):
    def space(self) -> SearchSpace:
        return DartsSpace(nodes=2, operations=("skip_connect", "sep_conv_3x3", "avg_pool_3x3"))


class TestLooseEnds(DartsContract):
    """The space of NASNet and AmoebaNet."""

    has_supernet = False

    def space(self) -> SearchSpace:
        return DartsSpace(5, (*PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7"), concat="loose_ends", distinct_inputs=False)


def architecture(normal: list[tuple[str, int]] = NORMAL, reduce: list[tuple[str, int]] = REDUCE) -> Architecture:
    return TINY.from_genotype(normal, reduce)


def one_choice(space: DartsSpace, cell: str) -> dict[str, Value]:
    """Return a valid choice for a cell."""
    drawn = space.sample(torch.Generator().manual_seed(0)).values
    return {name: value for name, value in drawn.items() if name.startswith(cell)}


def all_cells(space: DartsSpace) -> set[Architecture]:
    """Return, in canonical form, every valid normal cell beside one and the same reduction cell."""
    decisions = [decision for decision in space.decisions if decision.name.startswith("normal")]
    reduce, found = one_choice(space, "reduce"), set()
    for values in product(*(decision.choices for decision in decisions)):
        chosen = dict(zip((decision.name for decision in decisions), values, strict=True))
        try:
            found.add(space.canonical(Architecture(space.name, {**chosen, **reduce})))
        except ValueError:  # two equal inputs
            continue
    return found


class TestSize:
    def test_published_number_of_cells(self) -> None:
        assert math.isqrt(DartsSpace().size) == 1_037_664_180
        assert DartsSpace().size == 1_037_664_180**2

    @pytest.mark.parametrize("distinct_inputs", [True, False])
    @pytest.mark.parametrize("operations", [TINY.operations[1:], TINY.operations[:3]])
    def test_closed_form_is_the_number_of_canonical_forms(
        self, distinct_inputs: bool, operations: tuple[str, ...]
    ) -> None:
        space = DartsSpace(2, operations, distinct_inputs=distinct_inputs)
        assert len(all_cells(space)) ** 2 == space.size

    def test_by_hand(self) -> None:
        operations = ("none", "skip_connect", "max_pool_3x3")
        # distinct: pairs of inputs 1 and 3, two operations on each; free: multisets of two out of 4 and of 6 edges
        assert DartsSpace(2, operations).size == (1 * 4 * 3 * 4) ** 2
        assert DartsSpace(2, operations, distinct_inputs=False).size == (10 * 21) ** 2


class TestSample:
    @pytest.mark.parametrize(
        "space",
        [DartsSpace(1, TINY.operations), DartsSpace(2, ("none", "skip_connect")), DartsSpace(1, TINY.operations[1:3])],
        ids=lambda space: space.name,
    )
    def test_every_architecture_is_equally_likely(self, space: DartsSpace) -> None:
        generator, expected = torch.Generator().manual_seed(0), 50
        counts = Counter(space.canonical(space.sample(generator)) for _ in range(expected * space.size))
        chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
        freedom = space.size - 1
        assert len(counts) == space.size
        assert abs(chi_square - freedom) < 3.3 * math.sqrt(2 * freedom)

    def test_equal_inputs_come_up_where_they_are_allowed(self) -> None:
        space = DartsSpace(1, TINY.operations, distinct_inputs=False)
        generator = torch.Generator().manual_seed(0)
        pairs = Counter(
            (drawn["normal/node0/input0"], drawn["normal/node0/input1"])
            for drawn in (space.sample(generator).values for _ in range(400))
        )
        assert set(pairs) == {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert all(60 < count < 140 for count in pairs.values())

    def test_none_is_never_drawn(self) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = [TINY.sample(generator) for _ in range(50)]
        assert not any("none" in architecture.values.values() for architecture in drawn)


class TestMembers:
    def test_equal_inputs_are_refused(self) -> None:
        twice = [*NORMAL[:2], ("sep_conv_3x3", 2), ("skip_connect", 2)]
        with pytest.raises(ValueError, match="two different inputs of normal/node1 but got 2 twice"):
            architecture(normal=twice)

    def test_equal_inputs_are_accepted_where_allowed(self) -> None:
        twice = [*NORMAL[:2], ("sep_conv_3x3", 2), ("sep_conv_3x3", 2)]
        free = DartsSpace(2, TINY.operations, distinct_inputs=False)
        assert free.genotype(free.from_genotype(twice, REDUCE)).normal == twice

    def test_none_is_no_choice(self) -> None:
        with pytest.raises(ValueError, match=r"'normal/node0/operation0' to be one of .* but got 'none'"):
            architecture(normal=[("none", 1), *NORMAL[1:]])

    def test_an_input_must_come_earlier(self) -> None:
        with pytest.raises(ValueError, match=r"'reduce/node1/input1' to be one of \(0, 1, 2\) but got 3"):
            architecture(reduce=[*REDUCE[:3], ("skip_connect", 3)])

    @pytest.mark.parametrize(
        ("normal", "reduce", "message"),
        [
            (NORMAL[:3], REDUCE, "Expected 4 pairs for the normal cell but got 3"),
            (NORMAL, [*REDUCE, *REDUCE], "Expected 4 pairs for the reduce cell but got 8"),
        ],
    )
    def test_a_genotype_of_another_length(
        self, normal: list[tuple[str, int]], reduce: list[tuple[str, int]], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            architecture(normal, reduce)

    def test_genotype_gives_back_the_pairs_in_their_order(self) -> None:
        genotype = TINY.genotype(architecture())
        assert (genotype.normal, genotype.reduce) == (NORMAL, REDUCE)
        assert genotype.normal_concat == genotype.reduce_concat == range(2, 4)

    def test_loose_ends_are_what_no_node_reads(self) -> None:
        space = DartsSpace(2, TINY.operations, concat="loose_ends")
        unread = [*NORMAL[:2], ("sep_conv_3x3", 1), ("skip_connect", 0)]
        genotype = space.genotype(space.from_genotype(unread, REDUCE))
        assert (genotype.normal_concat, genotype.reduce_concat) == ([2, 3], [3])

    def test_provenance_is_kept(self) -> None:
        given = TINY.from_genotype(NORMAL, REDUCE, {"source": "a paper"})
        assert given.provenance == {"source": "a paper"}

    def test_canonical_orders_inputs_then_operations(self) -> None:
        free = DartsSpace(2, TINY.operations, distinct_inputs=False)
        written = free.from_genotype([*NORMAL[:2], ("sep_conv_3x3", 2), ("skip_connect", 2)], REDUCE)
        ordered = free.genotype(free.canonical(written)).normal
        assert ordered == [("max_pool_3x3", 0), ("skip_connect", 1), ("skip_connect", 2), ("sep_conv_3x3", 2)]

    def test_a_single_architecture_has_no_mutant(self) -> None:
        space, generator = DartsSpace(1, ("skip_connect",)), torch.Generator().manual_seed(0)
        with pytest.raises(ValueError, match="more than one architecture"):
            space.mutate(space.sample(generator), generator)


class TestConstructor:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"nodes": 0}, "`nodes` to be at least 1 but got 0"),
            ({"operations": ("skip_connect", "sep_conv_9x9")}, r"but got \['sep_conv_9x9'\]"),
            ({"operations": ()}, r'one besides "none" at least, but got \[\]'),
            ({"operations": ("none",)}, r"at least, but got \['none'\]"),
            ({"operations": ("skip_connect", "skip_connect")}, "Expected distinct `operations`"),
            ({"concat": "some"}, r"`concat` to be one of \['all', 'loose_ends'\] but got 'some'"),
        ],
    )
    def test_refuses(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            DartsSpace(**settings)


class TestSupernetWeights:
    def member(self, space: SearchSpace) -> Architecture:
        return space.sample(torch.Generator().manual_seed(0))

    def test_loose_ends_have_no_supernet(self) -> None:
        with pytest.raises(ValueError, match=r'with concat="all" for a supernet but got .*loose_ends'):
            DartsSpace(concat="loose_ends").supernet()

    def test_a_foreign_supernet_is_refused(self) -> None:
        foreign = NasBench201Space().supernet(channels=4, cells=1)
        with pytest.raises(TypeError, match=r"supernet of this space but got .*NasBench201Supernet"):
            TINY.build(self.member(TINY), weights_from=foreign)

    @pytest.mark.parametrize("other", [DartsSpace(3, TINY.operations), DartsSpace(2, TINY.operations[1:])])
    def test_a_supernet_with_other_settings_is_refused(self, other: DartsSpace) -> None:
        with torch.device("meta"):
            foreign = other.supernet(channels=4, layers=3)
        with pytest.raises(ValueError, match=r"supernet of 'darts\?nodes=2.* but got one of another space"):
            TINY.build(self.member(TINY), weights_from=foreign)

    def test_an_architecture_of_another_space_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"architecture of space 'darts' but got one of 'darts\?nodes=2"):
            DartsSpace().build(self.member(TINY))

    def test_one_operation_twice_on_an_input_counts_twice(self) -> None:
        space = DartsSpace(1, TINY.operations, distinct_inputs=False)
        doubled = space.from_genotype([("sep_conv_3x3", 1)] * 2, [("sep_conv_3x3", 0)] * 2)
        supernet, x = space.supernet(channels=4, layers=3).double(), torch.randn(2, 3, 8, 8).double()
        network = space.build(doubled, weights_from=supernet)
        torch.testing.assert_close(network(x), supernet(x, space.mixtures(doubled)), rtol=1e-10, atol=1e-12)


def test_groups_number_edges_node_by_node() -> None:
    normal, reduce = DartsSpace().groups
    assert (normal.name, reduce.name) == CELLS
    assert normal.candidates == reduce.candidates == PRIMITIVES
    assert normal.rows[:6] == (
        *("node0/input0", "node0/input1", "node1/input0", "node1/input1", "node1/input2"),
        "node2/input0",
    )
    assert len(normal.rows) == 14


def test_graph_shows_nodes_and_output() -> None:
    normal, _ = TINY.graph(architecture())
    assert normal.nodes == ("c_{k-2}", "c_{k-1}", "0", "1", "c_{k}")
    assert set(normal.edges) == {
        ("c_{k-1}", "0", "skip_connect"),
        ("c_{k-2}", "0", "max_pool_3x3"),
        ("0", "1", "sep_conv_3x3"),
        ("c_{k-2}", "1", "skip_connect"),
        ("0", "c_{k}", ""),
        ("1", "c_{k}", ""),
    }
