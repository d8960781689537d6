"""The networks of the macro space of ENAS: sizes, what they compute, which weights are used."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_parameters
from lightning_nas.spaces import DartsSpace, EnasMacroSpace, Mixture
from lightning_nas.spaces.enas_macro_layers import MacroSkeleton
from lightning_nas.spaces.enas_macro_supernet import EnasMacroChild, EnasMacroSupernet
from lightning_nas.spaces.enas_macro_wiring import SKIP_FORMS, SkipForm, Wiring, fixed_entries, mixed_entries
from lightning_nas.zoo import ENAS_MACRO
from tests.references import enas_macro as reference

T5 = "0\n3 0\n5 1 0\n1 0 1 1"
# All operations, chains, and in the paper's form a layer that nothing reads (3) and one that reads the stem (2).
SIX = "0\n1 1\n2 0 0\n3 1 0 1\n4 0 1 1 0\n5 1 0 1 0 1"
forms = pytest.mark.parametrize("form", SKIP_FORMS)


def images(channels: int = 3, size: int = 8) -> Tensor:
    return torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(0)).double()


@torch.no_grad()
def with_random_norms(network: nn.Module) -> nn.Module:
    """Give scales, shifts and statistics of BatchNorms values of their own, in float64."""
    generator = torch.Generator().manual_seed(0)
    for norm in network.double().modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (*norm.parameters(), *(b for b in norm.buffers() if b.dim())):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network


def supernet_of(space: EnasMacroSpace, **scale: Any) -> EnasMacroSupernet:
    supernet = with_random_norms(space.supernet(**({"channels": 4, "dropout": 0.0} | scale)))
    assert isinstance(supernet, EnasMacroSupernet)
    return supernet


def with_gradient(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


class TestSizes:
    def test_golden_counts(self) -> None:
        """T6: the published 24-layer network, and the supernets at F=36, L=12."""
        space = EnasMacroSpace(24)
        with torch.device("meta"):
            real, plain = (space.build(ENAS_MACRO, separable=separable) for separable in (True, False))
            official, paper = (EnasMacroSpace(skips=form).supernet() for form in SKIP_FORMS)
        assert count_parameters(real) == 30_947_424
        assert count_parameters(plain) == 42_559_392
        assert count_parameters(official) == 697_860
        assert count_parameters(paper) == 697_860 + 66 * 36**2  # a 1x1 convolution for every skip

    @forms
    def test_maps(self, form: SkipForm) -> None:
        """T6: 32, 16 after layer 3, 8 after layer 7; the search keeps its channels, the final network doubles them."""
        space = EnasMacroSpace(skips=form)
        every = {d.name: d.choices[-1] for d in space.decisions}  # all skips on
        supernet, mixtures = space.supernet(channels=4), space.mixtures(Architecture(space.name, every))
        child = space.build(Architecture(space.name, every), weights_from=supernet)
        final = space.build(Architecture(space.name, every), channels=4)
        supernet(torch.zeros(2, 3, 32, 32), mixtures)
        sides = [side for side in (32, 16, 8) for _ in range(4)]
        assert [tuple(x.shape) for x in outputs(child, 32)] == [(2, 4, side, side) for side in sides]
        widths = [width for width in (4, 8, 16) for _ in range(4)]
        shapes = [(2, width, side, side) for width, side in zip(widths, sides, strict=True)]
        assert [tuple(x.shape) for x in outputs(final, 32)] == shapes

    def test_one_channel_is_separable_too(self) -> None:
        space = EnasMacroSpace(3)
        sizes = [count_parameters(space.build(space.from_string(f"{op} 0 0 0 0 0"), channels=1)) for op in (0, 1)]
        assert sizes[1] - sizes[0] == 1  # the 1x1 convolution

    def test_layers_that_are_no_multiple_of_three(self) -> None:
        space = EnasMacroSpace(5)
        network = space.build(space.sample(torch.Generator().manual_seed(0)), channels=2)
        assert [x.shape[-1] for x in outputs(network, 8)] == [8, 4, 2, 2, 2]

    def test_only_what_is_needed_is_built(self) -> None:
        """The last layer reads the stem: one layer, and the stem's two reductions, are all there is."""
        space = EnasMacroSpace(6, "paper")
        alone = space.from_string(SIX[:-9] + "0 0 0 0 0")
        network = space.build(alone, channels=4)
        stem, reductions = 3 * 9 * 4 + 8, (4 * 8 + 16) + (8 * 16 + 32)
        assert count_parameters(network) == stem + reductions + (16 * 16 + 32) + 16 * 10

    def test_unread_outputs_are_not_halved(self) -> None:
        space = EnasMacroSpace(3)
        names = dict(space.build(space.from_string("0 0 0 0 0 1"), channels=4).named_modules())
        found = {name for name in names if name.startswith("reductions.") and name.count(".") == 3}
        assert found == {f"reductions.{place}" for place in ("0.always.1", "1.on.1", "1.always.2")}

    def test_defaults_of_dropout(self) -> None:
        space = EnasMacroSpace(3)
        supernet, final = space.supernet(channels=4), space.build(space.from_string("0 0 0 0 0 1"), channels=4)
        child = space.build(space.from_string("0 0 0 0 0 1"), weights_from=supernet)
        rates = [m.p for network in (supernet, child, final) for m in network.modules() if isinstance(m, nn.Dropout)]
        assert rates == [0.1, 0.1, 0.5]


def outputs(network: nn.Module, size: int) -> list[Tensor]:
    """Return the output of every layer."""
    assert isinstance(network, MacroSkeleton)
    arguments = network.arguments if isinstance(network, EnasMacroChild) else ()
    wiring = network.wiring
    assert isinstance(wiring, Wiring)
    return list(network.features(torch.zeros(2, 3, size, size), wiring, arguments))


class TestRestated:
    @forms
    def test_supernet_path(self, form: SkipForm) -> None:
        space = EnasMacroSpace(6, form)
        supernet = supernet_of(space)
        for seed in range(4):
            architecture = space.sample(torch.Generator().manual_seed(seed)) if seed else space.from_string(SIX)
            mixtures = space.mixtures(architecture)
            operations, skips = (mixtures[name].weights.double() for name in ("operations", "skips"))
            expected = reference.supernet(supernet.state_dict(), form, operations, skips, images())
            assert_close(supernet(images(), mixtures), expected, rtol=1e-10, atol=1e-10)

    @forms
    def test_dense_mixture(self, form: SkipForm) -> None:
        space, generator = EnasMacroSpace(6, form), torch.Generator().manual_seed(0)
        supernet = supernet_of(space)
        shapes = {group.name: (len(group.rows), len(group.candidates)) for group in space.groups}
        tables = {name: torch.randn(shape, generator=generator).double().softmax(1) for name, shape in shapes.items()}
        expected = reference.supernet(supernet.state_dict(), form, tables["operations"], tables["skips"], images())
        found = supernet(images(), {name: Mixture(table) for name, table in tables.items()})
        assert_close(found, expected, rtol=1e-10, atol=1e-10)

    @forms
    @pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
    @pytest.mark.parametrize("separable", [True, False], ids=["separable", "plain"])
    def test_final_network(self, form: SkipForm, training: bool, separable: bool) -> None:
        space = EnasMacroSpace(6, form)
        for seed in range(3):
            architecture = space.sample(torch.Generator().manual_seed(seed)) if seed else space.from_string(SIX)
            rows = [[int(word) for word in line.split()] for line in space.to_string(architecture).split("\n")]
            network = space.build(architecture, channels=4, dropout=0.0, separable=separable)
            network = with_random_norms(network).train(training)
            state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            expected = reference.final(state, form, rows, images(), training=training, separable=separable)
            assert_close(network(images()), expected, rtol=1e-10, atol=1e-10)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Ones(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x[:, :1])


class SumOfChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1, keepdim=True)


class EverySecond(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


FACTORS = {"conv_3x3": 2, "sep_conv_5x5": 3, "max_pool_3x3": 5, "sep_conv_3x3": 7, "conv_5x5": 0, "avg_pool_3x3": 0}


def arithmetic(network: nn.Module, operations: Sequence[str]) -> nn.Module:
    """Replace what is learned: the stem is one, operations multiply, all joining is a sum."""
    network.stem, network.classifier = Ones(), nn.Identity()
    for name, module in list(network.named_modules()):
        parts = name.split(".")
        if len(parts) == 4 and parts[0] == "reductions":
            network.get_submodule(name.rpartition(".")[0]).add_module(parts[-1], EverySecond())
        elif len(parts) == 2 and parts[0] == "layers":
            replace_learned(module, operations[int(parts[1])])
    return network


def replace_learned(layer: nn.Module, operation: str) -> None:
    mixed = layer.operation
    if isinstance(mixed, nn.ModuleDict):
        for name in list(mixed):
            mixed[name] = Times(FACTORS[name])
    else:
        layer.operation = Times(FACTORS[operation])
    if hasattr(layer, "skip"):
        layer.skip = SumOfChannels()
    else:
        layer.norm = nn.Identity()
    if isinstance(skips := getattr(layer, "skips", None), nn.ModuleDict):
        for skip in skips.values():
            skip.add_module("on", nn.Identity())


class TestByHand:
    """T5. The operations multiply by 2, 3, 5, 7 from the first layer to the last; the stem is 1."""

    OFFICIAL = (2, 2 * 3, 2 * 3 * 5 + 1, (2 * 3 * 5 + 1) * 7 + 2 + 6)
    PAPER = (2, 1 * 3, 2 * 5, (3 + 10) * 7)

    @pytest.mark.parametrize(("form", "expected"), [("official", OFFICIAL), ("paper", PAPER)])
    @pytest.mark.parametrize("kind", ["supernet", "child", "final"])
    def test_networks(self, form: SkipForm, expected: Sequence[int], kind: str) -> None:
        space = EnasMacroSpace(4, form)
        architecture = space.from_string(T5)
        operations = [str(architecture.values[f"layer{k}/operation"]) for k in range(4)]
        supernet = space.supernet(channels=4)
        if kind == "supernet":
            logits = arithmetic(supernet, operations)(images(), space.mixtures(architecture))
        else:
            weights_from = supernet if kind == "child" else None
            network = arithmetic(space.build(architecture, weights_from=weights_from, channels=4), operations)
            assert [float(x.max()) for x in outputs(network, 8)] == [float(value) for value in expected]
            logits = network(images())
        assert torch.equal(logits, torch.full_like(logits, expected[-1]))


class TestSharing:
    """T14, T15: which weights a path uses, and that paths share them."""

    @staticmethod
    def gradients(supernet: nn.Module, space: EnasMacroSpace, text: str) -> set[str]:
        supernet.zero_grad()
        supernet(images(), space.mixtures(space.from_string(text))).square().sum().backward()
        return with_gradient(supernet)

    def test_only_the_path_gets_gradients(self) -> None:
        """Layer 1 adds the stem, layer 2 the output of layer 0: the stem is never read after layer 0."""
        space = EnasMacroSpace(3)
        supernet = supernet_of(space)
        found = self.gradients(supernet, space, "5  1 1  0 0 1")
        conv, sep = ["0", "1", "3", "4"], ["0", "1", "3", "4", "5"]
        used = {"stem", "classifier", "layers.1.norm", "layers.2.norm"}
        used |= {f"layers.0.operation.max_pool_3x3.{i}" for i in "01"}
        used |= {f"layers.1.operation.sep_conv_3x3.{i}" for i in sep}
        used |= {f"layers.2.operation.conv_3x3.{i}" for i in conv}
        used |= {"reductions.0.on.0", "reductions.0.always.1", "reductions.1.on.1", "reductions.1.always.2"}
        every = {name for name, _ in supernet.named_parameters()}
        assert found == {name for name in every if any(name.startswith(f"{place}.") for place in used)}
        assert "reductions.1.on.0.bn.weight" in every - found

    def test_only_the_path_gets_gradients_in_the_papers_form(self) -> None:
        """Layer 2 reads layer 0 alone; layer 1 is not needed."""
        space = EnasMacroSpace(3, "paper")
        supernet = supernet_of(space)
        found = self.gradients(supernet, space, "5  1 1  0 1 0")
        used = {"stem", "classifier", "layers.2.norm", "layers.0.operation.max_pool_3x3", "layers.2.skips.0.on"}
        used |= {"layers.2.operation.conv_3x3", "reductions.0.on.1", "reductions.1.on.1"}
        every = {name for name, _ in supernet.named_parameters()}
        assert found == {name for name in every if any(name.startswith(f"{place}.") for place in used)}

    def test_a_step_changes_the_path_only(self) -> None:
        space = EnasMacroSpace(6)
        supernet = supernet_of(space)
        before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        found = self.gradients(supernet, space, SIX)
        torch.optim.SGD(supernet.parameters(), 0.1, momentum=0.9).step()
        changed = {name for name, tensor in supernet.state_dict().items() if not torch.equal(tensor, before[name])}
        assert 0 < len(changed) < len(before)
        assert changed <= found

    def test_two_paths_see_the_same_tensor(self) -> None:
        space = EnasMacroSpace(3)
        supernet = supernet_of(space)
        texts = ("5  1 1  0 0 1", "4  1 0  2 1 0")  # both have operation 1 in layer 1
        paths = [space.mixtures(space.from_string(text)) for text in texts]
        before = [supernet(images(), path) for path in paths]
        shared, own = (f"layers.{k}.operation.{name}.0.weight" for k, name in ((1, "sep_conv_3x3"), (2, "conv_3x3")))
        for name, changes in ((own, (True, False)), (shared, (True, True))):
            weight = supernet.get_parameter(name).data
            kept = weight.clone()
            weight.neg_()
            after = [supernet(images(), path) for path in paths]
            assert tuple(not torch.allclose(a, b) for a, b in zip(after, before, strict=True)) == changes
            weight.copy_(kept)

    @forms
    def test_alphas_get_gradients(self, form: SkipForm) -> None:
        """With a softmax over all candidates every weight and every alpha has a part in the output."""
        space = EnasMacroSpace(3, form)
        supernet = supernet_of(space)
        alphas = {g.name: torch.zeros(len(g.rows), len(g.candidates), requires_grad=True) for g in space.groups}
        supernet(images(), {name: Mixture(a.softmax(1)) for name, a in alphas.items()}).square().sum().backward()
        for alpha in alphas.values():
            assert alpha.grad is not None
            assert (alpha.grad != 0).all()
        assert with_gradient(supernet) == {name for name, _ in supernet.named_parameters()}


class TestModes:
    def test_supernet_evaluates_by_the_batch_and_without_dropout(self) -> None:
        space = EnasMacroSpace(3)
        supernet, mixtures = supernet_of(space, dropout=0.5), space.mixtures(space.from_string("0 0 0 0 0 1"))
        assert not any(True for _ in supernet.buffers())
        same = supernet_of(space)
        same.load_state_dict(supernet.state_dict())
        training = same.train()(images(), mixtures)
        assert_close(supernet.eval()(images(), mixtures), training, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(supernet.train()(images(), mixtures), training)

    def test_child_keeps_precision(self) -> None:
        space = EnasMacroSpace(3)
        child = space.build(space.from_string("0 0 0 0 0 1"), weights_from=supernet_of(space))
        assert {p.dtype for p in child.parameters()} == {torch.float64}


class TestWiring:
    """An inactive row of a mixture is a skip that is off."""

    @staticmethod
    def entries(form: SkipForm, active: Sequence[tuple[int, ...]] | None) -> Mapping[int, Tensor | None]:
        return mixed_entries(form, 2, Mixture(torch.tensor([[0.0, 0.0], [0.75, 0.25], [0.5, 2.0]]), as_tuple(active)))

    @pytest.mark.parametrize(
        ("active", "official", "paper"),
        [
            (None, {0: 0.25, 1: 2.0}, {0: 0.375, 1: 0.25, 2: 2.0}),
            ([(), (0,), (0,)], {}, {0: 0.375}),
            ([(), (), (0,)], {}, {0: 0.5}),
            ([(), (), ()], {}, {0: 1.0}),
            ([(), (1,), (0,)], {0: 0.25}, {1: 0.25}),
            ([(), (), (0, 1)], {1: 2.0}, {0: 0.5, 2: 2.0}),
        ],
    )
    def test_mixed(
        self, active: Sequence[tuple[int, ...]] | None, official: dict[int, float], paper: dict[int, float]
    ) -> None:
        assert self.entries("official", active) == official
        assert self.entries("paper", active) == paper

    def test_fixed(self) -> None:
        assert [list(fixed_entries("official", k, on)) for k, on in ((0, []), (3, []), (3, [0, 2]))] == [[], [], [0, 2]]
        assert [list(fixed_entries("paper", k, on)) for k, on in ((0, []), (3, []), (3, [0, 2]))] == [[], [0], [1, 3]]

    def test_what_is_needed(self) -> None:
        """Layer 5 reads layer 3, which reads layer 0; the rest is not needed."""
        on: list[list[int]] = [[], [0], [0, 1], [0], [3], [3]]
        wiring = Wiring.of("paper", [fixed_entries("paper", k, skips) for k, skips in enumerate(on)])
        assert wiring.layers == (0, 3, 5)
        assert wiring.reduced == {1: (1,), 3: (4,)}


def as_tuple(active: Sequence[tuple[int, ...]] | None) -> tuple[tuple[int, ...], ...] | None:
    return None if active is None else tuple(active)


class TestRefusals:
    @pytest.mark.parametrize("weights_from", [nn.Linear(1, 1), DartsSpace(2).supernet(4, 3)], ids=["linear", "darts"])
    def test_weights_of_another_kind(self, weights_from: nn.Module) -> None:
        space = EnasMacroSpace(3)
        with pytest.raises(TypeError, match="`weights_from` to be a supernet of this space but got"):
            space.build(space.from_string("0 0 0 0 0 1"), weights_from=weights_from)

    @pytest.mark.parametrize(("layers", "form"), [(4, "official"), (3, "paper")])
    def test_weights_of_another_setting(self, layers: int, form: SkipForm) -> None:
        space, other = EnasMacroSpace(3), EnasMacroSpace(layers, form)
        with pytest.raises(ValueError, match=r"supernet of 'enas_macro\?layers=3' but got one of ") as error:
            space.build(space.from_string("0 0 0 0 0 1"), weights_from=other.supernet(channels=4))
        assert repr(other.name) in str(error.value)

    @pytest.mark.parametrize(
        ("scale", "message"),
        [
            ({"channels": 0}, "`channels` to be a whole number of at least 1 but got 0"),
            ({"classes": 0}, "`classes` to be a whole number of at least 1 but got 0"),
            ({"in_channels": 0}, "`in_channels` to be a whole number of at least 1 but got 0"),
            ({"dropout": 1.0}, "`dropout` to be a share with 0 <= fraction < 1 but got 1.0"),
        ],
    )
    def test_sizes(self, scale: dict[str, Any], message: str) -> None:
        space = EnasMacroSpace(3)
        with pytest.raises(ValueError, match=message):
            space.supernet(**scale)
        with pytest.raises(ValueError, match=message):
            space.build(space.from_string("0 0 0 0 0 1"), **scale)

    @pytest.mark.parametrize(
        ("shape", "message"),
        [((3, 8, 10), "divisible by 4 but got 8x10"), ((1, 8, 8), "images of 3 channels but got 1")],
    )
    def test_images(self, shape: tuple[int, ...], message: str) -> None:
        space = EnasMacroSpace(3)
        architecture, supernet = space.from_string("0 0 0 0 0 1"), space.supernet(channels=4)
        with pytest.raises(ValueError, match=message):
            supernet(torch.zeros(2, *shape), space.mixtures(architecture))
        with pytest.raises(ValueError, match=message):
            space.build(architecture, channels=4)(torch.zeros(2, *shape))
