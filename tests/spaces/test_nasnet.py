"""NASNet spaces: their members, mutations and canonical forms; the published cells."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture
from lightning_nas.controllers.forms import form_of
from lightning_nas.operations.nasnet import AMOEBANET_OPERATIONS, NASNET_OPERATIONS, PNAS_OPERATIONS
from lightning_nas.spaces import NasnetSpace, SearchSpace, get_space
from lightning_nas.testing.space import SpaceContract
from lightning_nas.zoo import AMOEBANET_A, ARCHITECTURES, NASNET_A, PNASNET_5, find_architecture

PNAS = NasnetSpace()
AMOEBANET = NasnetSpace(operations=AMOEBANET_OPERATIONS, cells="two", concat="loose_ends")
CHOSEN = NasnetSpace(3, ("identity", "avg_pool_3x3", "conv_1x1"), "two", "chosen")
Block = tuple[tuple[int, str], tuple[int, str]]


def reorder(architecture: Architecture, generator: torch.Generator) -> Architecture:
    """Swap pairs and blocks at random; the function stays the same."""
    space = get_space(architecture.space)
    assert isinstance(space, NasnetSpace)
    values = dict(architecture.values)
    for cell, wiring in space.wirings(architecture).items():
        number, left = {0: 0, 1: 1}, list(enumerate(wiring.blocks, 2))
        for place in range(2, space.blocks + 2):
            ready = [(state, block) for state, block in left if all(source in number for source, _ in block)]
            state, block = ready[int(torch.randint(len(ready), (), generator=generator))]
            first = int(torch.randint(2, (), generator=generator))
            for k, (source, operation) in enumerate((block[first], block[1 - first])):
                values[f"{cell}/node{place - 2}/input{k}"] = number[source]
                values[f"{cell}/node{place - 2}/operation{k}"] = operation
            if space.concat == "chosen":
                values[f"{cell}/output{place}"] = architecture.values[f"{cell}/output{state}"]
            number[state] = place
            left.remove((state, block))
    return replace(architecture, values=values, provenance={"written": "otherwise"})


class NasnetContract(SpaceContract):
    has_supernet = False

    def scale(self) -> dict[str, Any]:
        return {"channels": 4, "cells_per_stage": 1, "classes": 10}

    def example(self) -> Tensor:
        return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def equivalent(self, architecture: Architecture) -> Architecture:
        return reorder(architecture, torch.Generator().manual_seed(1))


class TestPnas(NasnetContract):
    def space(self) -> SearchSpace:
        return NasnetSpace(3)


class TestAmoebaNet(NasnetContract):
    def space(self) -> SearchSpace:
        return NasnetSpace(2, AMOEBANET_OPERATIONS, "two", "loose_ends")


class TestNasnet(NasnetContract):
    def space(self) -> SearchSpace:
        return NasnetSpace(2, NASNET_OPERATIONS, "two", "chosen")


class TestSmall(NasnetContract):
    def space(self) -> SearchSpace:
        return NasnetSpace(1, ("identity", "avg_pool_3x3"), concat="chosen")


class TestDecisions:
    def test_order_and_names(self) -> None:
        names = [decision.name for decision in NasnetSpace(2).decisions]
        assert names[:4] == ["cell/node0/input0", "cell/node0/input1", "cell/node0/operation0", "cell/node0/operation1"]
        assert names[4:6] == ["cell/node1/input0", "cell/node1/input1"]
        inputs = [d.choices for d in NasnetSpace(2).decisions if d.kind == "input"]
        assert inputs == [(0, 1), (0, 1), (0, 1, 2), (0, 1, 2)]
        assert {d.choices for d in PNAS.decisions if d.kind == "operation"} == {PNAS_OPERATIONS}

    def test_two_cells_and_flags(self) -> None:
        names = [decision.name for decision in NasnetSpace(1, cells="two", concat="chosen").decisions]
        assert [name for name in names if "node" not in name] == [
            f"{cell}/output{state}" for cell in ("normal", "reduce") for state in range(3)
        ]
        assert names.index("normal/output2") < names.index("reduce/node0/input0")

    def test_number_of_ways_to_write(self) -> None:
        assert NasnetSpace(1).size == 256
        assert NasnetSpace(2).size == 147_456
        assert NasnetSpace(3).size == 150_994_944
        assert PNAS.size == 556_627_761_561_600
        assert AMOEBANET.size == PNAS.size**2
        assert NasnetSpace(1, concat="chosen").size == 256 * 8

    def test_controllers_know_the_form(self) -> None:
        assert form_of(PNAS.decisions) == form_of(AMOEBANET.decisions) == "micro"
        assert form_of(CHOSEN.decisions) == "other"

    def test_names_carry_the_settings(self) -> None:
        assert PNAS.name == "nasnet"
        assert NasnetSpace(2).name == PNAS.with_blocks(2).name == "nasnet?blocks=2"
        assert AMOEBANET.with_blocks(3).name == AMOEBANET.name.replace("nasnet?", "nasnet?blocks=3&")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"blocks": 0}, "`blocks` to be at least 1 but got 0"),
            ({"operations": ("identity", "none")}, r"`operations` of .* but got \['none'\]"),
            ({"operations": ()}, r"distinct `operations`, one at least, but got \[\]"),
            ({"operations": ("identity", "identity")}, "distinct `operations`"),
            ({"cells": "three"}, "`cells` to be one of .* but got 'three'"),
            ({"concat": "some"}, "`concat` to be one of .* but got 'some'"),
        ],
    )
    def test_wrong_settings(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NasnetSpace(**settings)


class TestCanonical:
    """pnas T2."""

    @staticmethod
    def form(*blocks: Block, space: NasnetSpace | None = None) -> Architecture:
        flat = [(operation, source) for block in blocks for source, operation in block]
        given = space or NasnetSpace(len(blocks), ("identity", "conv_1x1"))
        return given.canonical(given.from_genotype(flat))

    def test_pairs_of_a_block(self) -> None:
        a, b = "identity", "conv_1x1"
        assert self.form(((0, a), (1, b))) == self.form(((1, b), (0, a)))
        assert self.form(((0, a), (1, b))) != self.form(((0, b), (1, a)))

    def test_blocks(self) -> None:
        a, b = "identity", "conv_1x1"
        x, y, reader, no_reader = ((0, a), (0, b)), ((1, b), (1, b)), ((2, a), (1, b)), ((0, a), (1, b))
        assert self.form(x, y) == self.form(y, x)
        assert self.form(x, reader) != self.form(x, no_reader)
        assert self.form(x, y, ((2, a), (3, b))) == self.form(y, x, ((3, a), (2, b)))
        assert self.form(x, y, ((2, a), (3, b))) != self.form(y, x, ((2, a), (3, b)))

    @pytest.mark.parametrize("space", [NasnetSpace(4, ("identity", "conv_1x1")), AMOEBANET, CHOSEN])
    def test_many_ways_to_write(self, space: NasnetSpace) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(50):
            architecture = space.sample(generator)
            forms = {space.canonical(reorder(architecture, generator)) for _ in range(10)}
            assert forms == {space.canonical(architecture)}

    def test_the_function_stays(self) -> None:
        """Wirings and outputs of a canonical form are isomorphic: nested expressions of the outputs are equal."""
        generator = torch.Generator().manual_seed(0)
        for space in (AMOEBANET, CHOSEN):
            for _ in range(30):
                architecture = space.sample(generator)
                assert expressions(space, architecture) == expressions(space, space.canonical(architecture))

    def test_number_of_cells_that_put_out_loose_ends(self) -> None:
        """Equal cells put out equal states: as many forms as expressions."""
        space = NasnetSpace(2, ("identity", "conv_1x1"), concat="loose_ends")
        choices = [decision.choices for decision in space.decisions]
        every = [
            Architecture(space.name, dict(zip([d.name for d in space.decisions], values, strict=True)))
            for values in product(*choices)
        ]
        forms = {space.canonical(architecture) for architecture in every}
        assert len(every) == 576
        assert len(forms) == 165

    def test_flags_of_loose_ends_do_not_count(self) -> None:
        architecture = CHOSEN.sample(torch.Generator().manual_seed(0))
        for cell, wiring in CHOSEN.wirings(architecture).items():
            for state in wiring.loose_ends:
                off = replace(architecture, values={**architecture.values, f"{cell}/output{state}": False})
                on = replace(architecture, values={**architecture.values, f"{cell}/output{state}": True})
                assert CHOSEN.wirings(off) == CHOSEN.wirings(on)
                assert CHOSEN.canonical(off) == CHOSEN.canonical(on)
                assert CHOSEN.canonical(off).values[f"{cell}/output{len(wiring.blocks) + 1}"] is True

    def test_other_flags_count(self) -> None:
        architecture = CHOSEN.sample(torch.Generator().manual_seed(0))
        for state in (0, 1):
            name = f"normal/output{state}"
            other = replace(architecture, values={**architecture.values, name: not architecture.values[name]})
            assert CHOSEN.canonical(other) != CHOSEN.canonical(architecture)


def expressions(space: NasnetSpace, architecture: Architecture) -> dict[str, Counter[str]]:
    """Return the states that every cell puts out, written out as nested sums."""
    found = {}
    for cell, wiring in space.wirings(architecture).items():
        states = ["pp", "p"]
        for block in wiring.blocks:
            states.append(" + ".join(sorted(f"{operation}({states[source]})" for source, operation in block)))
        found[cell] = Counter(states[j] for j in wiring.outputs)
    return found


class TestMutation:
    def test_frequencies(self) -> None:
        """evolution C1 T4: state and operation equally likely, so are the 20 places; never the value it has."""
        generator = torch.Generator().manual_seed(0)
        parent = AMOEBANET.sample(generator)
        changed: Counter[str] = Counter()
        for _ in range(8000):
            child = AMOEBANET.mutate(parent, generator)
            (name,) = (name for name, value in parent.values.items() if child.values[name] != value)
            changed[name] += 1
        share = sum(count for name, count in changed.items() if "input" in name) / 8000
        assert share == pytest.approx(0.5, abs=0.02)
        assert changed.keys() == parent.values.keys()
        assert all(abs(count / 8000 - 1 / 40) < 0.008 for count in changed.values())

    def test_new_values_are_equally_likely(self) -> None:
        space = NasnetSpace(1, ("identity", "conv_1x1", "conv_3x3"))
        generator = torch.Generator().manual_seed(0)
        parent = space.from_genotype([("identity", 0), ("conv_1x1", 0)])
        children = [space.mutate(parent, generator).values for _ in range(2000)]
        assert {c["cell/node0/input0"] for c in children} == {0, 1}
        new = Counter(c["cell/node0/operation0"] for c in children)
        assert new["conv_1x1"] / (new["conv_1x1"] + new["conv_3x3"]) == pytest.approx(0.5, abs=0.08)

    def test_ten_thousand_in_a_row_are_valid(self) -> None:
        """evolution C1 T5."""
        generator = torch.Generator().manual_seed(0)
        architecture = AMOEBANET.sample(generator)
        for _ in range(10_000):
            architecture = AMOEBANET.mutate(architecture, generator)  # validates what it gets
            for wiring in AMOEBANET.wirings(architecture).values():
                assert all(source < i + 2 for i, block in enumerate(wiring.blocks) for source, _ in block)
                assert len(wiring.outputs) >= 1
        AMOEBANET.validate(architecture)

    def test_one_operation_leaves_the_inputs(self) -> None:
        space, generator = NasnetSpace(1, ("identity",)), torch.Generator().manual_seed(0)
        parent = space.sample(generator)
        for _ in range(20):
            child = space.mutate(parent, generator)
            (name,) = (name for name, value in parent.values.items() if child.values[name] != value)
            assert "input" in name

    def test_of_chosen_outputs_every_mutation_changes_the_cell_or_its_wiring(self) -> None:
        generator = torch.Generator().manual_seed(0)
        kinds: Counter[str] = Counter()
        for _ in range(600):
            parent = CHOSEN.sample(generator)
            child = CHOSEN.mutate(parent, generator)
            assert CHOSEN.wirings(child) != CHOSEN.wirings(parent)
            (name,) = (name for name, value in parent.values.items() if child.values[name] != value)
            kinds[name.rpartition("/")[2].rstrip("0123456789")] += 1
        assert kinds.keys() == {"input", "operation", "output"}
        assert all(abs(count / 600 - 1 / 3) < 0.07 for count in kinds.values())


class TestGenotypes:
    def test_pnasnet_5(self) -> None:
        """pnas section 5, from the encoding of the published code: there 0 is the last cell and 1 the one before."""
        indices, operations = (1, 1, 0, 0, 0, 0, 4, 0, 1, 0), ("5", "m", "7", "m", "5", "3", "3", "m", "3", "none")
        names = {"5": "sep_conv_5x5", "7": "sep_conv_7x7", "3": "sep_conv_3x3", "m": "max_pool_3x3", "none": "identity"}
        swapped = [{0: 1, 1: 0}.get(index, index) for index in indices]
        genotype = PNAS.genotype(PNASNET_5)
        assert genotype.normal == genotype.reduce == [(names[o], i) for o, i in zip(operations, swapped, strict=True)]
        assert genotype.normal_concat == genotype.reduce_concat == [2, 3, 4, 5, 6]
        assert PNASNET_5.space == "nasnet"

    @pytest.mark.parametrize(
        ("architecture", "normal", "reduce"),
        [(NASNET_A, [0, 2, 3, 4, 5, 6], [3, 4, 5, 6]), (AMOEBANET_A, [0, 3, 4, 6], [2, 3, 4, 5, 6])],
        ids=["NASNET_A", "AMOEBANET_A"],
    )
    def test_published_outputs(self, architecture: Architecture, normal: list[int], reduce: list[int]) -> None:
        space = get_space(architecture.space)
        assert isinstance(space, NasnetSpace)
        genotype = space.genotype(architecture)
        assert (genotype.normal_concat, genotype.reduce_concat) == (normal, reduce)
        again = space.from_genotype(
            genotype.normal,
            genotype.reduce,
            normal_concat=genotype.normal_concat,
            reduce_concat=genotype.reduce_concat,
        )
        assert again == architecture

    @pytest.mark.parametrize("name", ["PNASNET_5", "NASNET_A", "AMOEBANET_A"])
    def test_in_the_zoo(self, name: str) -> None:
        architecture = find_architecture(name)
        assert architecture is ARCHITECTURES[name]
        assert architecture.provenance["name"] == name
        get_space(architecture.space).validate(architecture)

    def test_by_default_loose_ends_are_put_out(self) -> None:
        pairs = [("conv_1x1", 0), ("conv_1x1", 1), ("conv_1x1", 2), ("conv_1x1", 1), ("identity", 0), ("identity", 0)]
        assert CHOSEN.genotype(CHOSEN.from_genotype(pairs, pairs)).normal_concat == [3, 4]
        loose = NasnetSpace(3, CHOSEN.operations, concat="loose_ends")
        assert loose.genotype(loose.from_genotype(pairs)).normal_concat == [3, 4]
        assert loose.from_genotype(pairs, normal_concat=[4, 3]) == loose.from_genotype(pairs)

    @pytest.mark.parametrize(
        ("space", "arguments", "message"),
        [
            (NasnetSpace(1), {"normal": [("identity", 0)]}, "Expected 2 pairs for the cell cell but got 1"),
            (NasnetSpace(1), {"reduce": [("identity", 0)] * 2}, "Expected one of `normal` and `reduce`"),
            (NasnetSpace(1, cells="two"), {}, "Expected two of `normal` and `reduce`"),
            (NasnetSpace(1), {"normal": [("identity", 2)] * 2}, "'cell/node0/input0' to be one of .* but got 2"),
            (NasnetSpace(1), {"normal": [("conv_1x1", 0)] * 2}, "'cell/node0/operation0' to be one of"),
            (NasnetSpace(1), {"normal_concat": [0, 2]}, r"the cell cell to put out \[2\] but got \[0, 2\]"),
            (NasnetSpace(1, concat="chosen"), {"normal_concat": [0]}, r"cell to put out \[0, 2\] but got \[0\]"),
        ],
    )
    def test_what_is_no_member(self, space: NasnetSpace, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            space.from_genotype(**{"normal": [("identity", 0)] * 2, **arguments})


class TestNoSupernet:
    def test_it_says_why(self) -> None:
        message = "Expected a space with a supernet but got 'nasnet': its networks share no weights"
        for refused in (PNAS.supernet, lambda: PNAS.discretize({}), lambda: PNAS.mixtures(PNASNET_5)):
            with pytest.raises(ValueError, match=message):
                refused()
        with pytest.raises(ValueError, match=message):
            PNAS.build(PNASNET_5, weights_from=nn.Identity())
        assert PNAS.groups == ()


class TestGraph:
    def test_of_pnasnet_5(self) -> None:
        (graph,) = PNAS.graph(PNASNET_5)
        assert graph.name == "cell"
        assert graph.nodes == ("c_{k-2}", "c_{k-1}", "0", "1", "2", "3", "4", "c_{k}")
        assert graph.edges[:2] == (("c_{k-2}", "0", "sep_conv_5x5"), ("c_{k-2}", "0", "max_pool_3x3"))
        assert graph.edges[6] == ("2", "3", "sep_conv_3x3")
        assert graph.edges[10:] == tuple((str(i), "c_{k}", "") for i in range(5))

    def test_inputs_that_are_put_out(self) -> None:
        space = get_space(AMOEBANET_A.space)
        normal, reduce = space.graph(AMOEBANET_A)
        assert (normal.name, reduce.name) == ("normal", "reduce")
        assert next(edge for edge in normal.edges if edge[1] == "c_{k}") == ("c_{k-2}", "c_{k}", "")
