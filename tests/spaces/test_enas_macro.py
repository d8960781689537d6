"""The macro space of ENAS: decisions, notation, equal architectures, drawings. Names like T5 are those of the spec."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import DecisionGroup, EnasMacroSpace, SearchSpace, get_space
from lightning_nas.spaces.enas_macro_wiring import SkipForm
from lightning_nas.testing.space import SpaceContract
from lightning_nas.zoo import ENAS_MACRO

T5 = "0\n3 0\n5 1 0\n1 0 1 1"


class TestOfficialForm(SpaceContract):
    def space(self) -> SearchSpace:
        return EnasMacroSpace(layers=3)

    def scale(self) -> dict[str, Any]:
        return {"channels": 4, "classes": 10, "dropout": 0.0}

    def example(self) -> Tensor:
        return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class TestOfficialFormOfSixLayers(TestOfficialForm):
    def space(self) -> SearchSpace:
        return EnasMacroSpace(layers=6)


class TestPaperForm(TestOfficialForm):
    def space(self) -> SearchSpace:
        return EnasMacroSpace(layers=6, skips="paper")

    def samples(self, count: int = 4, seed: int = 0) -> list[Architecture]:
        """Put one first whose last layer alone is needed, and one without its last skips."""
        text = "2  3 1  5 1 0  1 0 1 1  0 1 0 0 1  4 0 0 0 0 0"
        space = EnasMacroSpace(layers=6, skips="paper")
        first = [space.from_string(text), space.from_string(text[:-9] + "1 1 0 0 0")]
        return [*first, *super().samples(count, seed)]

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Change layer 4 if nothing reads it."""
        values = dict(architecture.values)
        if not values["layer5/skip4"]:
            values |= {"layer4/operation": "max_pool_3x3", "layer4/skip2": not values["layer4/skip2"]}
        return replace(architecture, values=values, provenance={"written": "otherwise"})


class TestDecisions:
    @pytest.mark.parametrize(("layers", "decisions", "skips"), [(12, 78, 66), (24, 300, 276), (3, 6, 3)])
    def test_number(self, layers: int, decisions: int, skips: int) -> None:
        space = EnasMacroSpace(layers)
        assert len(space.decisions) == decisions
        assert space.size == 6**layers * 2**skips

    def test_order_and_kinds(self) -> None:
        described = [(d.name, d.kind, d.choices) for d in EnasMacroSpace(3).decisions]
        names = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
        assert described == [
            ("layer0/operation", "operation", names),
            ("layer1/operation", "operation", names),
            ("layer1/skip0", "flag", (False, True)),
            ("layer2/operation", "operation", names),
            ("layer2/skip0", "flag", (False, True)),
            ("layer2/skip1", "flag", (False, True)),
        ]

    def test_groups(self) -> None:
        operations, skips = EnasMacroSpace(3).groups
        assert operations.name == "operations"
        assert operations.rows == ("layer0/operation", "layer1/operation", "layer2/operation")
        assert skips == DecisionGroup("skips", ("layer1/skip0", "layer2/skip0", "layer2/skip1"), ("off", "on"))

    def test_names(self) -> None:
        assert EnasMacroSpace().name == "enas_macro"
        assert EnasMacroSpace(24, "paper").name == "enas_macro?layers=24&skips=paper"
        again = get_space("enas_macro?layers=24&skips=paper")
        assert isinstance(again, EnasMacroSpace)
        assert (again.layers, again.skips) == (24, "paper")

    def test_sampling_is_uniform(self) -> None:
        space, generator = EnasMacroSpace(), torch.Generator().manual_seed(0)
        drawn = [space.sample(generator) for _ in range(200)]
        on = sum(value is True for a in drawn for value in a.values.values()) / (200 * 66)
        first = sum(value == "conv_3x3" for a in drawn for value in a.values.values()) / (200 * 12)
        assert on == pytest.approx(1 / 2, abs=0.02)  # 2.2 and 2.6 standard deviations
        assert first == pytest.approx(1 / 6, abs=0.02)

    def test_too_few_layers(self) -> None:
        with pytest.raises(ValueError, match="Expected `layers` to be at least 3 but got 2"):
            EnasMacroSpace(layers=2)

    def test_unknown_form(self) -> None:
        with pytest.raises(ValueError, match=r"`skips` to be one of \['official', 'paper'\] but got 'both'"):
            EnasMacroSpace(skips="both")  # type: ignore[arg-type]


class TestNotation:
    def test_both_ways(self) -> None:
        space, generator = EnasMacroSpace(), torch.Generator().manual_seed(0)
        for _ in range(20):
            architecture = space.sample(generator)
            text = space.to_string(architecture)
            assert space.from_string(text) == space.from_string(" ".join(text.split())) == architecture

    def test_by_hand(self) -> None:
        architecture = EnasMacroSpace(4).from_string(T5, {"name": "T5"})
        assert dict(architecture.values) == {
            "layer0/operation": "conv_3x3",
            "layer1/operation": "sep_conv_5x5",
            "layer1/skip0": False,
            "layer2/operation": "max_pool_3x3",
            "layer2/skip0": True,
            "layer2/skip1": False,
            "layer3/operation": "sep_conv_3x3",
            "layer3/skip0": False,
            "layer3/skip1": True,
            "layer3/skip2": True,
        }
        assert architecture.provenance == {"name": "T5"}
        assert EnasMacroSpace(4).to_string(architecture) == T5

    def test_published(self) -> None:
        """T6: row k has length k + 1; 300 integers, 98 of 276 skips on, no pooling."""
        space = EnasMacroSpace(24)
        rows = [[int(word) for word in line.split()] for line in space.to_string(ENAS_MACRO).split("\n")]
        assert [len(row) for row in rows] == list(range(1, 25))
        assert sum(map(len, rows)) == 300
        assert sum(sum(row[1:]) for row in rows) == 98
        assert [row[0] for row in rows] == [0, 3, 0, 2, 2, 3, 2, 2, 1, 0, 2, 0, 2, 1, 0, 2, 2, 2, 3, 3, 0, 3, 0, 0]
        assert rows[8] == [1, 0, 1, 1, 1, 0, 1, 0, 1]
        assert rows[23] == [0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0]
        assert ENAS_MACRO.space == "enas_macro?layers=24"
        assert ENAS_MACRO.provenance == {"name": "ENAS_MACRO", "source": "arXiv:1802.03268"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Expected 6 numbers for 3 layers but got 0"),
            ("0 3 0 5 1", "Expected 6 numbers for 3 layers but got 5"),
            (T5, "Expected 6 numbers for 3 layers but got 10"),
            ("0 6 0 5 1 0", "'layer1/operation' to be one of 0, 1, 2, 3, 4, 5 but got '6'"),
            ("-1 3 0 5 1 0", "'layer0/operation' to be one of 0, 1, 2, 3, 4, 5 but got '-1'"),
            ("0 3 0 5 1 2", "'layer2/skip1' to be one of 0, 1 but got '2'"),
            ("0 3 x 5 1 0", "'layer1/skip0' to be one of 0, 1 but got 'x'"),
            ("0 3 0 5 01 0", "'layer2/skip0' to be one of 0, 1 but got '01'"),
        ],
    )
    def test_other_text(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            EnasMacroSpace(3).from_string(text)

    def test_architecture_of_another_space(self) -> None:
        with pytest.raises(ValueError, match=r"of space 'enas_macro' but got one of 'enas_macro\?layers=24'"):
            EnasMacroSpace().to_string(ENAS_MACRO)


class TestDiscretize:
    def test_ties_go_to_the_earlier_operation_and_to_off(self) -> None:
        operations = torch.zeros(3, 6)
        operations[0, 4], operations[1, 2], operations[1, 5] = 1, 1, 1
        skips = torch.tensor([[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]])
        architecture = EnasMacroSpace(3).discretize({"operations": operations, "skips": skips})
        assert EnasMacroSpace(3).to_string(architecture) == "4\n2 0\n0 1 0"


class TestCanonical:
    @pytest.mark.parametrize(("skips", "different"), [("official", 64), ("paper", 2 + 4 + (4 + 8) + (8 + 8))])
    def test_equal_exactly_where_the_outputs_are(self, skips: SkipForm, different: int) -> None:
        """Three layers of two operations each, under one set of weights.

        In the paper's form the last layer reads the stem, layer 0, layer 1 (which reads the stem or layer 0), or both.
        """
        space = EnasMacroSpace(3, skips)
        supernet = space.supernet(channels=2).double().eval()
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
        by_output: dict[tuple[float, ...], set[Architecture]] = {}
        for bits in itertools.product([0, 1], repeat=6):
            operations = [4 * bit for bit in bits[:3]]
            text = "{} {} {} {} {} {}".format(*operations[:2], bits[3], operations[2], *bits[4:])
            architecture = space.from_string(text)
            output = tuple(supernet(x, space.mixtures(architecture)).round(decimals=9).flatten().tolist())
            by_output.setdefault(output, set()).add(space.canonical(architecture))
        assert {len(found) for found in by_output.values()} == {1}
        assert len(by_output) == len(set.union(*by_output.values())) == different

    def test_layers_that_nothing_reads(self) -> None:
        """Layer 4 reads layer 2, which reads layer 0; layer 3 reads layer 1, and nothing reads layer 3."""
        space = EnasMacroSpace(5, "paper")
        canonical = space.canonical(space.from_string("5  4 1  3 1 0  2 1 1 0  1 0 0 1 0"))
        assert space.to_string(canonical) == "5\n0 0\n3 1 0\n0 0 0 0\n1 0 0 1 0"


class TestGraph:
    def test_official(self) -> None:
        """T5: layer 2 adds the stem; layer 3 adds the outputs of layers 0 and 1, its operation reads layer 2."""
        space = EnasMacroSpace(4)
        (graph,) = space.graph(space.from_string(T5))
        assert (graph.name, graph.nodes) == ("network", ("stem", "0", "1", "2", "3", "head"))
        assert graph.edges == (
            ("stem", "0", "conv_3x3"),
            ("0", "1", "sep_conv_5x5"),
            ("1", "2", "max_pool_3x3"),
            ("stem", "2", ""),
            ("2", "3", "sep_conv_3x3"),
            ("0", "3", ""),
            ("1", "3", ""),
            ("3", "head", ""),
        )

    def test_paper(self) -> None:
        """T5: layer 2 reads layer 0; layer 3 reads layers 1 and 2; layer 1 has no selection: it reads the stem."""
        space = EnasMacroSpace(4, "paper")
        (graph,) = space.graph(space.from_string(T5))
        assert graph.nodes == ("stem", "0", "1", "2", "in 3", "3", "head")
        assert graph.edges == (
            ("stem", "0", "conv_3x3"),
            ("stem", "1", "sep_conv_5x5"),
            ("0", "2", "max_pool_3x3"),
            ("1", "in 3", ""),
            ("2", "in 3", ""),
            ("in 3", "3", "sep_conv_3x3"),
            ("3", "head", ""),
        )

    def test_what_is_not_needed_is_not_drawn(self) -> None:
        space = EnasMacroSpace(4, "paper")
        (graph,) = space.graph(space.from_string("0  3 0  5 1 0  1 0 0 0"))
        assert graph.edges == (("stem", "3", "sep_conv_3x3"), ("3", "head", ""))

    @pytest.mark.parametrize(("skips", "edges"), [("official", 24 + 98 + 1), ("paper", None)])
    def test_published(self, skips: SkipForm, edges: int | None) -> None:
        space = EnasMacroSpace(24, skips)
        (graph,) = space.graph(Architecture(space.name, ENAS_MACRO.values))
        assert edges is None or len(graph.edges) == edges
        assert graph.nodes[-2:] == ("23", "head")
