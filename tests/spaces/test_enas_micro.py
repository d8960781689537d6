"""ENAS's micro space: its members, their notation and their number; loose ends by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import DartsSpace, EnasMicroSpace, SearchSpace, get_space
from lightning_nas.spaces.enas_micro import OPERATIONS
from lightning_nas.testing.space import SpaceContract
from lightning_nas.zoo import ARCHITECTURES, ENAS_MICRO

SPACE, TINY = EnasMicroSpace(), EnasMicroSpace(nodes=2)
NORMAL, REDUCE = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1", "1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
PAPER = "1 1 1 4 2 2 0 0"  # figure 5: node 2 = sep5(1) + id(1), node 3 = avg(2) + sep3(0)


class MicroContract(SpaceContract):
    named_candidates = False  # the slices of a cell's last convolution belong to states: see test_enas_micro_supernet
    dense_mixtures = False

    def space(self) -> SearchSpace:
        return TINY

    def scale(self) -> dict[str, Any]:
        return {"channels": 4, "layers": 2, "classes": 10, "dropout": 0.0}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Swap the two pairs of the last node of the reduction cell."""
        values = dict(architecture.values)
        for kind in ("input", "operation"):
            one, two = f"reduce/node3/{kind}0", f"reduce/node3/{kind}1"
            values[one], values[two] = values[two], values[one]
        return replace(architecture, values=values, provenance={"written": "otherwise"})


class TestFactorizedSupernet(MicroContract):
    pass


class TestNormalCellFirst(MicroContract):
    def scale(self) -> dict[str, Any]:
        return {**super().scale(), "layers": 3, "channels": 2}


class Strided(EnasMicroSpace):
    def supernet(self, *args: Any, **scale: Any) -> nn.Module:
        return super().supernet(*args, **{**scale, "reduction": "stride"})


class TestStridedSupernet(MicroContract):
    def space(self) -> SearchSpace:
        return Strided(nodes=2)


class TestDecisions:
    def test_stand_in_the_order_of_sampling(self) -> None:
        names = [decision.name for decision in TINY.decisions]
        of_node = ["input0", "input1", "operation0", "operation1"]
        assert names == [f"{cell}/node{i}/{what}" for cell in ("normal", "reduce") for i in (2, 3) for what in of_node]
        assert len(SPACE.decisions) == 40

    def test_inputs_are_all_earlier_states(self) -> None:
        choices = {decision.name: decision.choices for decision in SPACE.decisions if decision.kind == "input"}
        assert choices["normal/node2/input0"] == (0, 1)
        assert choices["reduce/node6/input1"] == (0, 1, 2, 3, 4, 5)
        assert len(choices) == 20

    def test_operations_stand_in_the_order_of_the_authors_code(self) -> None:
        found = {decision.choices for decision in SPACE.decisions if decision.kind == "operation"}
        assert found == {("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")}

    def test_size_is_the_number_of_token_lists(self) -> None:
        assert SPACE.size == 5_062_500_000_000**2
        assert TINY.size == (25 * 4 * 25 * 9) ** 2

    def test_groups_are_the_nodes(self) -> None:
        assert [group.name for group in TINY.groups] == ["normal/node2", "normal/node3", "reduce/node2", "reduce/node3"]
        assert {group.rows for group in TINY.groups} == {("slot0", "slot1")}
        assert TINY.groups[0].candidates == tuple(f"{source}/{name}" for source in (0, 1) for name in OPERATIONS)
        assert len(SPACE.groups[-1].candidates) == 6 * 5

    def test_sampling_reaches_every_choice(self) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = [TINY.sample(generator).values for _ in range(200)]
        for decision in TINY.decisions:
            counts = [sum(values[decision.name] == choice for values in drawn) for choice in decision.choices]
            expected = 200 / len(counts)
            assert all(abs(count - expected) < 4 * math.sqrt(expected) for count in counts)

    def test_name(self) -> None:
        assert (SPACE.name, TINY.name) == ("enas_micro", "enas_micro?nodes=2")
        assert isinstance(get_space("enas_micro?nodes=2"), EnasMicroSpace)

    def test_a_cell_has_a_node(self) -> None:
        with pytest.raises(ValueError, match="`nodes` to be at least 1 but got 0"):
            EnasMicroSpace(0)


class TestNotation:
    def test_a_node_is_written_input_operation_input_operation(self) -> None:
        values = TINY.from_string(PAPER, "0 0 0 0 0 0 0 0").values
        assert [values[f"normal/node2/{what}"] for what in ("input0", "operation0", "input1", "operation1")] == [
            *(1, "sep_conv_5x5", 1, "skip_connect")
        ]
        assert [values[f"normal/node3/{what}"] for what in ("input0", "operation0", "input1", "operation1")] == [
            *(2, "avg_pool_3x3", 0, "sep_conv_3x3")
        ]

    def test_round_trip(self) -> None:
        assert SPACE.to_string(SPACE.from_string(NORMAL, REDUCE)) == (NORMAL, REDUCE)
        for seed in range(10):
            drawn = SPACE.sample(torch.Generator().manual_seed(seed))
            assert SPACE.from_string(*SPACE.to_string(drawn)) == drawn

    def test_provenance_is_kept(self) -> None:
        assert TINY.from_string(PAPER, PAPER, {"source": "a paper"}).provenance == {"source": "a paper"}

    @pytest.mark.parametrize(
        ("normal", "reduce", "message"),
        [
            (PAPER[:-2], PAPER, "Expected 8 numbers for the normal cell but got 7: '1 1 1 4 2 2 0'"),
            (PAPER, NORMAL, "Expected 8 numbers for the reduce cell but got 20"),
            ("1 1 1 4 3 2 0 0", PAPER, "Expected an input from 0 to 2 for normal/node3 but got '3'"),
            ("2 1 1 4 2 2 0 0", PAPER, "Expected an input from 0 to 1 for normal/node2 but got '2'"),
            (PAPER, "1 1 1 5 2 2 0 0", "Expected an operation from 0 to 4 for reduce/node2 but got '5'"),
            (PAPER, "1 1 1 4 2 -1 0 0", "Expected an operation from 0 to 4 for reduce/node3 but got '-1'"),
            (PAPER, "1 1 1 4 x 2 0 0", "Expected an input from 0 to 2 for reduce/node3 but got 'x'"),
        ],
    )
    def test_other_texts_are_refused(self, normal: str, reduce: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TINY.from_string(normal, reduce)

    def test_a_foreign_architecture_is_not_written(self) -> None:
        with pytest.raises(
            ValueError, match=r"architecture of space 'enas_micro\?nodes=2' but got one of 'enas_micro'"
        ):
            TINY.to_string(ENAS_MICRO)


class TestLooseEnds:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (PAPER, (3,)),
            ("0 0 0 0 0 0 0 0", (1, 2, 3)),
            ("1 4 1 4 1 4 1 4", (0, 2, 3)),
            ("0 4 1 4 2 4 2 4", (3,)),
            ("0 4 1 4 1 4 0 4", (2, 3)),
        ],
    )
    def test_by_hand(self, text: str, expected: tuple[int, ...]) -> None:
        architecture = TINY.from_string(text, PAPER)
        assert TINY.loose_ends(architecture) == {"normal": expected, "reduce": (3,)}

    def test_published(self) -> None:
        assert SPACE.loose_ends(ENAS_MICRO) == {"normal": (2, 3, 4, 5, 6), "reduce": (2, 4, 5, 6)}

    def test_of_a_foreign_architecture(self) -> None:
        with pytest.raises(ValueError, match="but got one of 'enas_micro'"):
            TINY.loose_ends(ENAS_MICRO)


class TestCanonical:
    def test_pairs_stand_by_input_then_operation(self) -> None:
        written = TINY.from_string("1 0 0 3 2 4 2 1", "0 0 0 0 1 2 0 4")
        assert TINY.to_string(TINY.canonical(written)) == ("0 3 1 0 2 1 2 4", "0 0 0 0 0 4 1 2")

    def test_refuses_a_foreign_architecture(self) -> None:
        with pytest.raises(ValueError, match="but got one of 'enas_micro'"):
            TINY.canonical(ENAS_MICRO)


class TestMixtures:
    def test_one_candidate_a_slot(self) -> None:
        mixture = TINY.mixtures(TINY.from_string(PAPER, PAPER))["normal/node3"]
        assert mixture.active == ((2 * 5 + 2,), (0,))
        assert mixture.weights.shape == (2, 15)
        assert mixture.weights.sum() == mixture.weights[0, 12] + mixture.weights[1, 0] == 2

    def test_strongest_candidate_of_every_slot(self) -> None:
        weights = {group.name: torch.zeros(2, len(group.candidates)) for group in TINY.groups}
        weights["normal/node3"][0, 13], weights["normal/node3"][0, 2] = 0.5, 0.4
        weights["reduce/node2"][1, 6] = weights["reduce/node2"][1, 9] = 0.1  # a tie
        found = TINY.discretize(weights)
        assert TINY.to_string(found) == ("0 0 0 0 2 3 0 0", "0 0 1 1 0 0 0 0")

    def test_slots_keep_their_order(self) -> None:
        architecture = TINY.from_string("1 0 0 3 2 4 2 1", PAPER)
        weights = {name: mixture.weights for name, mixture in TINY.mixtures(architecture).items()}
        assert TINY.discretize(weights) == architecture

    def test_mixing_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"one path at a time \(ENAS\).* mixes all candidates of 'enas_micro'"):
            SPACE.check_mixable(nn.Identity())


class TestRefusals:
    @pytest.mark.parametrize(
        ("scale", "message"),
        [
            ({"channels": 0}, "`channels` to be a whole number of at least 1 but got 0"),
            ({"layers": 0}, "`layers` to be a whole number of at least 1 but got 0"),
            ({"classes": 2.5}, "`classes` to be a whole number of at least 1 but got 2.5"),
            ({"in_channels": -1}, "`in_channels` to be a whole number of at least 1 but got -1"),
            ({"dropout": 1.0}, "`dropout` to be a share with 0 <= fraction < 1 but got 1.0"),
        ],
    )
    def test_scale(self, scale: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TINY.build(TINY.from_string(PAPER, PAPER), **scale)
        with pytest.raises(ValueError, match=message):
            TINY.supernet(**scale)

    def test_reduction(self) -> None:
        reduction: Any = "paper"
        with pytest.raises(ValueError, match=r"`reduction` to be one of \['factorized', 'stride'\] but got 'paper'"):
            TINY.supernet(reduction=reduction)

    def test_weights_of_another_kind_of_supernet(self) -> None:
        with torch.device("meta"):
            foreign = DartsSpace().supernet(channels=4, layers=3)
        with pytest.raises(TypeError, match=r"supernet of this space but got .*DartsSupernet"):
            SPACE.build(ENAS_MICRO, weights_from=foreign)

    def test_weights_of_a_supernet_with_other_settings(self) -> None:
        with torch.device("meta"):
            foreign = TINY.supernet(channels=4, layers=1)
        with pytest.raises(ValueError, match="a supernet of 'enas_micro' but got one with 2 nodes"):
            SPACE.build(ENAS_MICRO, weights_from=foreign)

    def test_a_foreign_architecture(self) -> None:
        for use in (TINY.build, TINY.mixtures, TINY.graph):
            with pytest.raises(ValueError, match="but got one of 'enas_micro'"):
                use(ENAS_MICRO)


def test_graph_shows_nodes_and_loose_ends() -> None:
    normal, reduce = TINY.graph(TINY.from_string("0 0 0 0 2 3 2 4", PAPER))
    assert (normal.name, reduce.name) == ("normal", "reduce")
    assert normal.nodes == ("c_{k-2}", "c_{k-1}", "2", "3", "c_{k}")
    assert normal.edges == (
        ("c_{k-2}", "2", "sep_conv_3x3"),
        ("c_{k-2}", "2", "sep_conv_3x3"),
        ("2", "3", "max_pool_3x3"),
        ("2", "3", "skip_connect"),
        ("c_{k-1}", "c_{k}", ""),
        ("3", "c_{k}", ""),
    )


def test_published_cells() -> None:
    assert ARCHITECTURES["ENAS_MICRO"] is ENAS_MICRO
    assert ENAS_MICRO.provenance == {"name": "ENAS_MICRO", "source": "arXiv:1802.03268"}
    assert SPACE.to_string(ENAS_MICRO) == (NORMAL, REDUCE)
    values = ENAS_MICRO.values
    assert (values["normal/node5/input0"], values["normal/node5/operation0"]) == (1, "sep_conv_3x3")
    assert (values["reduce/node4/input1"], values["reduce/node4/operation1"]) == (3, "sep_conv_5x5")
