"""A user's model as a search space."""

import copy
import math
import pickle
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas import DartsModule, Regression
from lightning_nas.architecture import Architecture, Decision
from lightning_nas.spaces import Choice, InputChoice, ModuleSpace, NasBench201Space, OpChoice, RepeatChoice
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.testing import SpaceContract

Values = dict[str, str | int]


def conv(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def activation() -> OpChoice:
    return OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")


class Everything(nn.Module):
    """An image network with every kind of choice: nested, under a shared key, repeated, summed and concatenated."""

    def __init__(self, channels: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.stem = conv(3, channels, 3)
        deep = nn.Sequential(
            OpChoice({"conv1": conv(channels, channels, 1), "conv3": conv(channels, channels, 3)}), activation()
        )
        self.body = OpChoice({"deep": deep, "pool": nn.AvgPool2d(3, 1, 1), "skip": nn.Identity()})
        self.repeat = RepeatChoice(lambda: nn.Sequential(conv(channels, channels, 3), activation()), (0, 1, 2), "depth")
        self.summed = InputChoice(3, 2, key="summed")
        self.joined = InputChoice(4, 2, key="joined", reduction="concat")
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        body = self.body(stem)
        repeated = self.repeat(body)
        summed = self.summed([stem, body, repeated])
        output: Tensor = self.head(self.joined([stem, body, repeated, summed]).mean((2, 3)))
        return output


def mlp(width: int = 6, classes: int = 3) -> nn.Module:
    """Return a perceptron whose width, depth and activation are searched."""
    hidden = {f"width{factor}": bottleneck(width, factor * width) for factor in (1, 2)}
    blocks = RepeatChoice(lambda index: nn.Sequential(nn.Linear(width, width), activation()), (1, 2), "depth")
    return nn.Sequential(nn.Linear(4, width), OpChoice(hidden), blocks, nn.Linear(width, classes))


def bottleneck(width: int, inner: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, inner), activation(), nn.Linear(inner, width))


class TestEverything(SpaceContract):
    def space(self) -> ModuleSpace:
        return ModuleSpace(Everything)

    def scale(self) -> dict[str, Any]:
        return {"channels": 2, "classes": 5}

    def example(self) -> Tensor:
        return torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(0))

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Turn round what is summed, and decide otherwise what is not computed."""
        values = dict(architecture.values)
        values |= {"summed/0": values["summed/1"], "summed/1": values["summed/0"]}
        if values["body"] != "deep":
            values["body/deep/0"] = "conv1" if values["body/deep/0"] == "conv3" else "conv3"
        return Architecture(architecture.space, values, {"written": "otherwise"}, {"val/accuracy": 0.5})


class TestMlp(SpaceContract):
    def space(self) -> ModuleSpace:
        return ModuleSpace(mlp, example=(4,))

    def scale(self) -> dict[str, Any]:
        return {"width": 3, "classes": 2}

    def example(self) -> Tensor:
        return torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def small() -> nn.Module:
    """Return a model of few architectures, all of whose candidates compute different functions."""
    inner = OpChoice({"linear": nn.Linear(2, 2), "tanh": nn.Tanh()}, key="inner")
    outer = OpChoice({"same": nn.Identity(), "inner": nn.Sequential(inner, nn.Linear(2, 2))}, key="outer")
    last = OpChoice({"linear": nn.Linear(2, 2), "tanh": nn.Tanh()}, key="last")
    return nn.Sequential(outer, RepeatChoice(lambda: nn.Sequential(nn.Linear(2, 2), last), (0, 1, 2), key="depth"))


class Summed(nn.Module):
    """Three linear layers, two of which are summed, or concatenated."""

    def __init__(self, reduction: Any = "sum") -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.act = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})
        self.skip = InputChoice(3, 2, reduction=reduction)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.act(self.skip([layer(x) for layer in self.layers]))
        return output


def members(space: ModuleSpace) -> list[Architecture]:
    """Return everything that is valid, by trying everything."""
    found = []
    for values in product(*(decision.choices for decision in space.decisions)):
        names = (decision.name for decision in space.decisions)
        architecture = Architecture(space.name, dict(zip(names, values, strict=True)))
        try:
            space.validate(architecture)
        except ValueError:
            continue
        found.append(architecture)
    return found


class TestDecisions:
    def test_by_hand(self) -> None:
        assert ModuleSpace(Everything).decisions == (
            Decision("body", ("deep", "pool", "skip"), "operation"),
            Decision("body/deep/0", ("conv1", "conv3"), "operation"),
            Decision("activation", ("relu", "tanh"), "operation"),
            Decision("depth", (0, 1, 2), "number"),
            Decision("summed/0", (0, 1, 2), "input"),
            Decision("summed/1", (0, 1, 2), "input"),
            Decision("joined/0", (0, 1, 2, 3), "input"),
            Decision("joined/1", (0, 1, 2, 3), "input"),
        )

    def test_size(self) -> None:
        assert ModuleSpace(Everything).size == 3 * 2 * 2 * 3 * math.comb(3, 2) * math.perm(4, 2)
        assert ModuleSpace(small).size == len(members(ModuleSpace(small))) == 2 * 2 * 3 * 2
        joined = ModuleSpace(partial(Summed, "concat"))
        assert joined.size == len(members(joined)) == 2 * 6
        summed = ModuleSpace(Summed)  # inputs may be written in any order, and count once
        assert summed.size == len({summed.canonical(member) for member in members(summed)}) == 2 * 3
        assert len(members(summed)) == 2 * 6

    def test_one_input_twice_is_refused(self) -> None:
        architecture = Architecture("module:Summed", {"act": "relu", "skip/0": 1, "skip/1": 1})
        with pytest.raises(ValueError, match=r"Expected different inputs for choice 'skip' but got \(1, 1\)"):
            ModuleSpace(Summed).validate(architecture)

    def test_graph(self) -> None:
        space = ModuleSpace(Everything, name="mine")
        values: Values = {
            "body/deep/0": "conv3",
            "activation": "tanh",
            "summed/0": 2,
            "summed/1": 0,
            "joined/0": 3,
            "joined/1": 1,
        }
        (graph,) = space.graph(Architecture("mine", {**values, "body": "deep", "depth": 0}))
        assert graph.nodes == ("mine", "body", "body/deep/0", "activation", "depth", "summed", "joined")
        assert graph.edges == (
            ("mine", "body", "deep"),
            ("body", "body/deep/0", "conv3"),
            ("body", "activation", "tanh"),
            ("mine", "depth", "0"),
            ("mine", "summed", "2, 0"),
            ("mine", "joined", "3, 1"),
        )
        (graph,) = space.graph(Architecture("mine", {**values, "body": "skip", "depth": 1}))
        assert ("depth", "activation", "tanh") in graph.edges
        assert "body/deep/0" not in graph.nodes
        (graph,) = space.graph(Architecture("mine", {**values, "body": "skip", "depth": 0}))
        assert "activation" not in graph.nodes


class TestCanonical:
    @pytest.mark.parametrize("factory", [small, Summed, partial(Summed, "concat")])
    def test_equal_exactly_where_the_functions_are(self, factory: Callable[[], nn.Module]) -> None:
        torch.manual_seed(0)
        space, x = ModuleSpace(factory), torch.randn(4, 2, dtype=torch.float64)
        supernet = space.supernet().double()
        outputs: dict[Architecture, Tensor] = {}
        for member in members(space):
            output, canonical = supernet(x, space.mixtures(member)), space.canonical(member)
            assert_close(outputs.setdefault(canonical, output), output, rtol=1e-12, atol=1e-12)
        rounded = {tuple(output.flatten().mul(1e6).round().tolist()) for output in outputs.values()}
        assert len(rounded) == len(outputs)

    def test_number_of_functions(self) -> None:
        """Depth 0 leaves ``last`` undecided, and ``same`` leaves ``inner`` undecided."""
        space = ModuleSpace(small)
        assert len({space.canonical(member) for member in members(space)}) == (1 + 2) * (1 + 2 + 2)

    def test_first_values_and_sorted_sums(self) -> None:
        space = ModuleSpace(Everything, name="m")
        values: Values = {"body": "skip", "body/deep/0": "conv3", "activation": "tanh", "depth": 0}
        inputs: Values = {"summed/0": 2, "summed/1": 0, "joined/0": 3, "joined/1": 1}
        assert space.canonical(Architecture("m", {**values, **inputs})) == Architecture(
            "m",
            {**values, **inputs, "body/deep/0": "conv1", "activation": "relu", "summed/0": 0, "summed/1": 2},
        )

    def test_a_shared_key_counts_as_long_as_one_place_is_computed(self) -> None:
        space, generator = ModuleSpace(Everything), torch.Generator().manual_seed(0)
        for _ in range(30):
            architecture = space.sample(generator)
            used = architecture.values["body"] == "deep" or architecture.values["depth"] != 0
            expected = architecture.values["activation"] if used else "relu"
            assert space.canonical(architecture).values["activation"] == expected


class TestSampling:
    @pytest.mark.parametrize("factory", [Summed, partial(Summed, "concat"), small])
    def test_uniform(self, factory: Callable[[], nn.Module]) -> None:
        """In 5,000 draws a frequency is off by 0.0064 or less, in one standard deviation."""
        space, generator = ModuleSpace(factory), torch.Generator().manual_seed(0)
        draws = Counter(space.sample(generator) for _ in range(5000))
        assert len(draws) == space.size
        assert all(abs(count / 5000 - 1 / space.size) < 0.02 for count in draws.values())

    def test_mutants_are_all_the_neighbours(self) -> None:
        space, generator = ModuleSpace(Summed), torch.Generator().manual_seed(0)
        parent = Architecture(space.name, {"act": "relu", "skip/0": 0, "skip/1": 2})
        mutants = {space.mutate(parent, generator) for _ in range(200)}
        different: tuple[Values, ...] = ({"act": "tanh"}, {"skip/0": 1}, {"skip/1": 1})
        assert mutants == {Architecture(space.name, {**parent.values, **values}) for values in different}


class Plain(nn.Module):
    """What a user writes by hand for one architecture of ``Everything``."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = conv(3, channels, 3)
        self.body = nn.Sequential(conv(channels, channels, 1), nn.Tanh())
        self.repeat = nn.Sequential(*(nn.Sequential(conv(channels, channels, 3), nn.Tanh()) for _ in range(2)))
        self.head = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        body = self.body(stem)
        repeated = self.repeat(body)
        output: Tensor = self.head(torch.cat([repeated, stem + repeated], 1).mean((2, 3)))
        return output


HAND = Architecture(
    "module:Everything",
    {
        "body": "deep",
        "body/deep/0": "conv1",
        "activation": "tanh",
        "depth": 2,
        "summed/0": 2,
        "summed/1": 0,
        "joined/0": 2,
        "joined/1": 3,
    },
)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class TestBuild:
    def test_the_model_is_that_written_by_hand(self) -> None:
        built, plain = ModuleSpace(Everything).build(HAND, channels=4, classes=3), Plain(4, 3)
        assert type(built) is Everything
        assert {k: v.shape for k, v in built.state_dict().items()} == {
            k: v.shape for k, v in plain.state_dict().items()
        }
        stem, deep, repeat, head = 3 * 4 * 9 + 8, 4 * 4 + 8, 2 * (4 * 4 * 9 + 8), 8 * 3 + 3
        assert parameters(built) == parameters(plain) == stem + deep + repeat + head == 471
        plain.load_state_dict(built.state_dict())
        x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        assert_close(built(x), plain(x))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"body": "skip", "depth": 0}, 116 + 27),
            ({"body": "pool", "depth": 1}, 116 + 27 + 152),
            ({"body": "deep", "body/deep/0": "conv3", "depth": 0}, 116 + 27 + 152),
            ({"body": "deep", "body/deep/0": "conv1", "depth": 1}, 116 + 27 + 24 + 152),
        ],
    )
    def test_parameters_by_hand(self, values: dict[str, Any], expected: int) -> None:
        space = ModuleSpace(Everything)
        assert parameters(space.build(Architecture(space.name, {**HAND.values, **values}))) == expected

    def test_mlp_by_hand(self) -> None:
        space = ModuleSpace(mlp)
        values: Values = {"1": "width2", "depth": 1, "activation": "tanh"}
        built = space.build(Architecture(space.name, values), width=5, classes=2)
        assert isinstance(built, nn.Sequential)
        assert [type(module).__name__ for module in built.modules() if not list(module.children())] == [
            *("Linear", "Linear", "Tanh", "Linear", "Linear", "Tanh", "Linear"),
        ]
        assert parameters(built) == (4 * 5 + 5) + (5 * 10 + 10 + 10 * 5 + 5) + (5 * 5 + 5) + (5 * 2 + 2)
        assert list(built.state_dict())[:4] == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"]

    def test_no_choice_is_left(self) -> None:
        space, generator = ModuleSpace(Everything), torch.Generator().manual_seed(0)
        for _ in range(10):
            built = space.build(space.sample(generator))
            assert not [module for module in built.modules() if isinstance(module, Choice)]
            assert all("candidates" not in name and "blocks" not in name for name in built.state_dict())

    def test_the_whole_model_may_be_a_choice(self) -> None:
        space = ModuleSpace(lambda: OpChoice({"small": nn.Linear(1, 1), "large": nn.Linear(1, 9)}))
        assert type(space.build(Architecture(space.name, {"choice": "large"}))) is nn.Linear

    def test_every_model_is_a_new_one(self) -> None:
        space = ModuleSpace(Everything)
        first, second = space.build(HAND), space.build(HAND)
        assert set(first.parameters()).isdisjoint(second.parameters())
        assert not torch.equal(next(first.parameters()), next(second.parameters()))


class TestInheritance:
    def test_output_precision_and_what_is_frozen(self) -> None:
        space, x = ModuleSpace(Everything), torch.randn(2, 3, 5, 5, dtype=torch.float64)
        supernet: Any = space.supernet(channels=3, classes=2).double()
        supernet.model.stem.requires_grad_(False)
        built = space.build(HAND, weights_from=supernet)
        assert_close(built(x), supernet(x, space.mixtures(HAND)), rtol=1e-12, atol=1e-12)
        assert {parameter.dtype for parameter in built.parameters()} == {torch.float64}
        frozen = {name for name, parameter in built.named_parameters() if not parameter.requires_grad}
        assert frozen == {"stem.0.weight", "stem.1.weight", "stem.1.bias"}

    def test_each_tensor_in_its_own_precision(self) -> None:
        """Buffers that are not saved, too."""

        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.act = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})
                self.low, self.high = nn.Linear(1, 1), nn.Linear(1, 1)
                self.register_buffer("scale", torch.ones(1), persistent=False)

        space = ModuleSpace(Scaled)
        supernet: Any = space.supernet()
        supernet.model.low.bfloat16()
        supernet.model.high.double()
        supernet.model.scale.fill_(3)
        built: Any = space.build(Architecture(space.name, {"act": "relu"}), weights_from=supernet)
        assert (built.low.weight.dtype, built.high.weight.dtype) == (torch.bfloat16, torch.float64)
        assert built.scale.tolist() == [3]

    def test_another_scale_is_refused(self) -> None:
        space = ModuleSpace(Everything)
        supernet = space.supernet(channels=3)
        assert space.build(HAND, weights_from=supernet, channels=3).stem[0].out_channels == 3  # type: ignore[index,union-attr]
        message = r"Expected the scale {'channels': 3} of `weights_from` but got {'channels': 5}"
        with pytest.raises(ValueError, match=message):
            space.build(HAND, weights_from=supernet, channels=5)

    def test_lazy_layers(self) -> None:
        def model() -> nn.Module:
            return nn.Sequential(nn.LazyLinear(3), activation(), nn.LazyLinear(2))

        space = ModuleSpace(model)
        architecture, supernet, x = (
            Architecture(space.name, {"activation": "tanh"}),
            space.supernet(),
            torch.randn(2, 4),
        )
        with pytest.raises(ValueError, match=r"a shape but got \['model.0.weight', .* of lazy layers; run one batch"):
            space.build(architecture, weights_from=supernet)
        expected = supernet(x, space.mixtures(architecture))
        assert_close(space.build(architecture, weights_from=supernet)(x), expected)

    def test_anything_but_a_supernet_is_refused(self) -> None:
        space = ModuleSpace(Everything)
        for other in (Everything(), NasBench201Space().supernet(channels=4, cells=1)):
            with pytest.raises(TypeError, match=f"a supernet of a ModuleSpace but got a {type(other).__name__}"):
                space.build(HAND, weights_from=other)

    def test_supernet_of_another_space_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"supernet of 'module:Everything' but got one that decides \['act', 'skip/0'"
        ):
            ModuleSpace(Everything).build(HAND, weights_from=ModuleSpace(Summed).supernet())

    def test_supernet_of_another_model_with_the_same_choices_is_refused(self) -> None:
        """Nothing is copied silently into the wrong place."""

        def other() -> nn.Module:
            return nn.Sequential(nn.Linear(9, 9), OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation"))

        def model() -> nn.Module:
            return nn.Sequential(nn.Linear(4, 4), OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation"))

        space = ModuleSpace(model)
        with pytest.raises(RuntimeError, match="size mismatch"):
            space.build(Architecture(space.name, {"activation": "relu"}), weights_from=ModuleSpace(other).supernet())


class TestFactories:
    def test_no_random_number_of_the_user_is_used(self) -> None:
        before = torch.get_rng_state()
        space = ModuleSpace(Everything)
        space.validate(space.canonical(space.sample(torch.Generator().manual_seed(0))))
        assert torch.equal(torch.get_rng_state(), before)

    def test_constructors_that_look_at_numbers(self) -> None:
        def factory() -> nn.Module:
            rates = torch.linspace(0, 0.3, 3).tolist()
            width = int(torch.tensor(4).item())
            return nn.Sequential(nn.Dropout(rates[1]), nn.Linear(width, width), activation())

        assert ModuleSpace(factory).size == 2

    def test_names(self) -> None:
        class Maker:
            def __call__(self, width: int = 1) -> nn.Module:
                return activation()

            def make(self) -> nn.Module:
                return activation()

        names = [ModuleSpace(f).name for f in (Everything, mlp, partial(mlp, 3), Maker(), Maker().make, activation)]
        assert names == [f"module:{n}" for n in ("Everything", "mlp", "mlp", "Maker", "make", "activation")]
        assert ModuleSpace(lambda: activation()).name == "module:model"
        assert ModuleSpace(partial(lambda width: activation(), 3)).name == "module:model"
        assert ModuleSpace(mlp, name="mine").name == "mine"
        assert ModuleSpace(mlp, name="mine").sample(torch.Generator()).space == "mine"

    def test_names_of_models_that_are_not_torchs_own(self) -> None:
        def made() -> nn.Module:
            return Summed()

        factories = (made, lambda: Summed(), partial(Summed, "concat"))
        assert [ModuleSpace(factory).name for factory in factories] == ["module:Summed"] * 3

    def test_name_of_a_class_in_a_config(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What jsonargparse passes on is a function of its own."""
        monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--space", type=SearchSpace)
        space = {"class_path": "lightning_nas.spaces.ModuleSpace", "init_args": {"factory": f"{__name__}.Summed"}}
        options = parser.parse_object({"space": space})
        assert parser.instantiate_classes(options).space.name == "module:Summed"

    def test_needed_arguments(self) -> None:
        def factory(width: int) -> nn.Module:
            return nn.Sequential(nn.Linear(width, width), activation())

        message = (
            "`factory` to be called without arguments but got: missing a required argument: 'width'; give its "
            "arguments defaults, or use functools.partial"
        )
        with pytest.raises(TypeError, match=message) as caught:
            ModuleSpace(factory)
        assert isinstance(caught.value.__cause__, TypeError)
        space = ModuleSpace(partial(factory, 3))
        with pytest.raises(TypeError, match=r"called with {'depth': 2} but got: .* unexpected .*'depth'"):
            space.supernet(depth=2)

    def test_shared_weights_are_refused_unless_they_are_frozen(self) -> None:
        backbone = nn.Linear(2, 2)
        space = ModuleSpace(lambda: nn.Sequential(backbone, activation(), nn.Linear(2, 1)))
        architecture = Architecture(space.name, {"activation": "relu"})
        for make in (space.supernet, partial(space.build, architecture)):
            with pytest.raises(ValueError, match=r"new weights each time but got \['0.weight', '0.bias'\] again"):
                make()
        backbone.requires_grad_(False)
        built: Any = space.build(architecture, weights_from=space.supernet())
        assert built[0] is backbone

    def test_what_makes_no_module(self) -> None:
        with pytest.raises(TypeError, match=r"Expected `factory` to make an nn.Module but got int"):
            ModuleSpace(lambda: 3)  # type: ignore[arg-type,return-value]

    def test_no_choices(self) -> None:
        with pytest.raises(ValueError, match="Expected Linear to hold an OpChoice"):
            ModuleSpace(partial(nn.Linear, 1, 1))

    def test_the_same_model_twice(self) -> None:
        """What is built would change all others."""
        model = nn.Sequential(activation())
        space = ModuleSpace(lambda: model)
        for make in (space.supernet, partial(space.build, Architecture(space.name, {"activation": "relu"}))):
            with pytest.raises(
                ValueError, match="`factory` to make a new model each time but got the same choices again"
            ):
                make()

    def test_scales_of_other_choices(self) -> None:
        def factory(layers: int = 2, keyed: bool = False) -> nn.Module:
            return nn.Sequential(
                *(OpChoice({"a": nn.ReLU(), "b": nn.Tanh()}, "a" if keyed else None) for _ in range(layers))
            )

        space = ModuleSpace(factory)
        with pytest.raises(
            ValueError,
            match=r"model of 'module:factory' to have .* for {'layers': 3}, other ones: \['2'\]; .* repeated one `key`",
        ):
            space.supernet(layers=3)
        with pytest.raises(ValueError, match=r"other ones: \['1'\]"):
            space.build(Architecture(space.name, {"0": "a", "1": "a"}), layers=1)
        keyed = ModuleSpace(partial(factory, keyed=True))
        assert len(list(keyed.supernet(layers=5).model.children())) == 5

    def test_scales_that_change_the_order(self) -> None:
        def factory(turned: bool = False) -> nn.Module:
            choices = [OpChoice({"a": nn.ReLU()}, key="one"), OpChoice({"a": nn.ReLU()}, key="two")]
            return nn.Sequential(*(reversed(choices) if turned else choices))

        with pytest.raises(ValueError, match="other ones: another order"):
            ModuleSpace(factory).supernet(turned=True)

    def test_spaces_can_be_copied_and_sent_to_processes(self) -> None:
        space = ModuleSpace(Everything, example=(3, 5, 5))
        for other in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
            assert (other.name, other.decisions, other.groups) == (space.name, space.decisions, space.groups)
            assert parameters(other.build(HAND)) == 471


class TestMixable:
    @staticmethod
    def check(module: nn.Module, example: Any) -> None:
        space = ModuleSpace(partial(copy.deepcopy, module), example=example)
        space.check_mixable(space.supernet())

    def test_what_cannot_be_mixed_is_named(self) -> None:
        body = OpChoice({"one": nn.Linear(2, 1), "two": nn.Linear(2, 2)})
        with pytest.raises(ValueError, match=r"got {'one': \(1, 1\), 'two': \(1, 2\)} in OpChoice '0'$"):
            self.check(nn.Sequential(body), (2,))
        body = OpChoice({"rnn": nn.GRU(2, 2), "two": nn.Linear(2, 2)})
        with pytest.raises(ValueError, match=r"got {'rnn': 'tuple', 'two': \(1, 2\)} in OpChoice 'blocks/0'; wrap"):
            self.check(Blocks(nn.Sequential(body)), (2,))
        choice = OpChoice({"relu": nn.ReLU(inplace=True), "tanh": nn.Tanh()}, key="in_place")
        with pytest.raises(ValueError, match=r"in OpChoice 'in_place'$"):
            self.check(nn.Sequential(choice), torch.ones(1, 2))

    def test_all_kinds_of_examples(self) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.act = activation()

            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                if x.shape != y.shape:
                    raise ArithmeticError
                output: Tensor = self.act(x + y)
                return output

        x, y, other = torch.ones(1, 2), torch.ones(1, 2), torch.ones(3)
        for example in ((x, y), {"y": y, "x": x}):
            self.check(Two(), example)
        message = r"the `example` of 'module:Two' .* got x=torch.float32 \(1, 2\), y=torch.float32 \(3,\): Arith"
        with pytest.raises(ValueError, match=message) as caught:
            self.check(Two(), {"x": x, "y": other})
        assert isinstance(caught.value.__cause__, ArithmeticError)

    def test_without_an_example_nothing_is_checked(self) -> None:
        self.check(nn.Sequential(OpChoice({"one": nn.Linear(2, 1), "two": nn.Linear(2, 2)})), None)

    def test_the_supernet_stays_as_it_was(self) -> None:
        space = ModuleSpace(Everything, example=(3, 5, 5))
        supernet = space.supernet()
        state, random_state = copy.deepcopy(supernet.state_dict()), torch.get_rng_state()
        space.check_mixable(supernet)
        assert all(module.training for module in supernet.modules())
        assert_close(supernet.state_dict(), state, rtol=0, atol=0)
        assert torch.equal(torch.get_rng_state(), random_state)

    def test_random_numbers_of_lazy_layers_are_the_callers(self) -> None:
        """A seed of its own would give all searches the same weights."""

        def weight(seed: int) -> Tensor:
            space = ModuleSpace(lambda: nn.Sequential(nn.LazyLinear(3), activation()), example=(4,))
            module = DartsModule(space, Regression(), order="first", seed=seed)
            return next(module.supernet.parameters())

        assert torch.equal(weight(0), weight(0))
        assert not torch.equal(weight(0), weight(1))

    def test_wrong_examples(self) -> None:
        with pytest.raises(TypeError, match="Expected an example input"):
            ModuleSpace(mlp, example="image")  # type: ignore[arg-type]


class Blocks(nn.Module):
    """Holds a module under a name."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.blocks(x)
        return output


def test_graph_of_a_space_named_as_its_choice() -> None:
    space = ModuleSpace(lambda: nn.Sequential(OpChoice({"relu": nn.ReLU()}, key="activation")), name="activation")
    (graph,) = space.graph(Architecture("activation", {"activation": "relu"}))
    assert graph.edges == (("activation (model)", "activation", "relu"),)
