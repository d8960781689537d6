from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas import InputChoice, ModuleSpace, OpChoice, RepeatChoice, count_multiply_adds, count_parameters
from lightning_nas.architecture import Architecture
from lightning_nas.expected_cost import ExpectedCost, measure_cost
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.inputs import as_inputs
from lightning_nas.spaces.mixture import Mixture
from tests.spaces.test_module_space_property import MODELS, WIDTH, Description, make


class Convolutional(nn.Module):
    """Nested, repeated and shared choices, with parts that always cost something."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        inner = OpChoice({"conv1": nn.Conv2d(width, width, 1), "skip": nn.Identity()}, key="inner")
        self.first = OpChoice({"conv3": nn.Conv2d(width, width, 3, padding=1), "deep": nn.Sequential(inner, nn.ReLU())})
        self.depth = RepeatChoice(
            lambda: nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                OpChoice({"conv1": nn.Conv2d(width, width, 1), "skip": nn.Identity()}, key="inner"),
            ),
            (0, 1, 3),
        )
        self.join = InputChoice(3, 2, key="join")
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.first(x)
        z = self.join([x, y, self.depth(y)])
        logits: Tensor = self.head(z.mean((2, 3)))
        return logits


class Tied(nn.Module):
    """One layer in two choices, in one choice twice, and outside; and one choice in two places."""

    def __init__(self) -> None:
        super().__init__()
        shared, also, same = nn.Linear(3, 3), nn.Linear(3, 3), nn.Identity()
        self.first = OpChoice({"linear": shared, "same": same, "both": nn.Sequential(shared, also)})
        self.second = OpChoice({"linear": shared, "same": same})
        self.again = nn.Sequential(nn.ReLU(), self.second)
        self.alias = OpChoice({"a": also, "b": nn.Sequential(also, nn.ReLU())}, key="alias")
        self.depth = RepeatChoice(lambda: shared, (0, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.depth(self.alias(self.again(self.second(self.first(x)))))
        return output


class Twice(nn.Module):
    """One choice that is called twice, and a weight that is tied to one outside of all choices."""

    def __init__(self) -> None:
        super().__init__()
        self.outside = nn.Linear(3, 3)
        tied = nn.Linear(3, 3)
        tied.weight = self.outside.weight
        self.choice = OpChoice({"tied": tied, "own": nn.Linear(3, 3), "nothing": nn.Identity()}, key="choice")

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.choice(self.choice(self.outside(x)))
        return output


class Real(Twice):
    """Its control flow depends on the values in a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.sum()) < 1 else x


SPACES: dict[str, Callable[[], ModuleSpace]] = {
    "convolutional": lambda: ModuleSpace(Convolutional, example=(3, 8, 8)),
    "twice": lambda: ModuleSpace(Twice, example=(3,)),
    "tied": lambda: ModuleSpace(Tied, example=(3,)),
    "batch": lambda: ModuleSpace(Twice, example=torch.zeros(7, 3)),
    "real numbers": lambda: ModuleSpace(Real, example=(3,)),
    "choice alone": lambda: ModuleSpace(
        lambda: OpChoice({"small": nn.Linear(3, 3), "none": nn.Identity()}), example=(3,)
    ),
}


def measured(space: ModuleSpace, kind: str) -> ExpectedCost:
    supernet = space.supernet()
    return measure_cost(supernet.model, supernet.choices, kind, space.example)  # type: ignore[arg-type]  # a plain str


def count(space: ModuleSpace, kind: str, architecture: Architecture) -> int:
    network = space.build(architecture)
    assert space.example is not None
    return (
        count_parameters(network) if kind == "params" else count_multiply_adds(network, space.example.positional[0][:1])
    )


def every(space: ModuleSpace) -> list[Architecture]:
    names = [decision.name for decision in space.decisions]
    values = product(*(decision.choices for decision in space.decisions))
    possible = [Architecture(space.name, dict(zip(names, chosen, strict=True))) for chosen in values]
    return [a for a in possible if "join/0" not in a.values or a.values["join/0"] != a.values["join/1"]]


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize("name", SPACES)
def test_cost_of_every_architecture_is_that_of_its_network(name: str, kind: str) -> None:
    space = SPACES[name]()
    cost = measured(space, kind)
    assert len({cost.of(architecture.values) for architecture in every(space)}) > 1
    for architecture in every(space):
        expected = count(space, kind, architecture)
        assert cost.of(architecture.values) == expected
        assert float(cost(space.mixtures(architecture))) == expected


def test_parts_by_hand() -> None:
    cost = measured(SPACES["twice"](), "macs")
    assert cost.parts == {(): 9, (("choice", ("tied",)),): 18, (("choice", ("own",)),): 18}
    # the tied weight is there anyway, its bias is not
    cost = measured(SPACES["twice"](), "params")
    assert cost.parts == {(): 12, (("choice", ("tied",)),): 3, (("choice", ("own",)),): 12}


def test_parts_of_what_is_tied() -> None:
    """The 12 parameters of a layer are there where one of its three places is chosen: 1 - (1-a) (1-b) (1-c)."""
    cost = measured(SPACES["tied"](), "params")
    first, second, depth = ("first", ("linear",)), ("second", ("linear",)), ("depth", (1, 3))
    assert cost.parts[depth,] == cost.parts[first,] == cost.parts[second,] == 12
    assert cost.parts[first, second] == cost.parts[depth, first] == -12
    assert cost.parts[depth, first, second] == 12
    # the other blocks of the depth are there only where the first one is
    assert not any(("depth", (3,)) in part for part in cost.parts)


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize("name", ["convolutional", "tied"])
def test_expected_cost_is_the_mean_over_all_architectures(name: str, kind: str) -> None:
    space = SPACES[name]()
    cost, generator = measured(space, kind), torch.Generator().manual_seed(0)
    weights = {
        group.name: torch.rand(len(group.rows), len(group.candidates), generator=generator, dtype=torch.float64)
        for group in space.groups
    }
    weights = {name: table / table.sum(1, keepdim=True) for name, table in weights.items()}

    def probability(architecture: Architecture) -> float:
        factors = [
            weights[group.name][0, group.candidates.index(str(architecture.values[group.name]))]
            for group in space.groups
            if group.name != "join"
        ]
        return float(torch.stack(factors).prod())

    # which inputs are joined costs nothing: six ways to choose two of three in order
    ways = 6 if name == "convolutional" else 1
    mean = sum(probability(a) / ways * count(space, kind, a) for a in every(space))
    assert_close(float(cost({name: Mixture(table) for name, table in weights.items()})), mean, rtol=1e-12, atol=0)


def test_gradient_is_the_difference_that_a_candidate_makes() -> None:
    space = SPACES["twice"]()
    weights = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(measured(space, "macs")({"choice": Mixture(weights)}), weights)
    assert gradient.tolist() == [[18.0, 18.0, 0.0]]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(description=MODELS, seed=st.integers(0, 9))
def test_cost_of_random_models_is_that_of_their_networks(description: Description, seed: int) -> None:
    """Also where one layer, or one choice, stands in several places."""
    space, generator = ModuleSpace(partial(make_shared, description), example=(WIDTH,)), torch.Generator()
    costs = {kind: measured(space, kind) for kind in ("params", "macs")}
    generator.manual_seed(seed)
    for _ in range(5):
        architecture = space.sample(generator)
        mixtures = {key: Mixture(m.weights.double()) for key, m in space.mixtures(architecture).items()}
        for kind, cost in costs.items():
            assert cost.of(architecture.values) == float(cost(mixtures)) == count(space, kind, architecture)


def make_shared(description: Description) -> nn.Module:
    """Make the model of a description, with every third linear layer the same one."""
    model, shared = make(description), nn.Linear(WIDTH, WIDTH)
    places = [name for name, module in model.named_modules(remove_duplicate=False) if type(module) is nn.Linear]
    for place in places[::3]:
        parent, _, name = place.rpartition(".")
        if model.get_submodule(place).in_features == WIDTH:  # the merging layers are wider
            setattr(model.get_submodule(parent), name, shared)
    return model


def test_too_many_places() -> None:
    def model() -> nn.Module:
        shared = nn.Linear(2, 2)
        return nn.Sequential(*(OpChoice({"a": shared, "b": nn.Identity()}) for _ in range(13)))

    with pytest.raises(ValueError, match=r"tied across few choices but got one in 13 places .* give those choices one"):
        measured(ModuleSpace(model, example=(2,)), "params")
    assert measured(ModuleSpace(model, example=(2,)), "macs").of({str(i): "a" for i in range(13)}) == 13 * 4


def test_a_parameter_of_a_choice_itself_is_there_whenever_the_choice_is() -> None:
    class Tempered(OpChoice):
        def __init__(self) -> None:
            super().__init__({"linear": nn.Linear(3, 3), "same": nn.Identity()}, key="inner")
            self.temperature = nn.Parameter(torch.ones(1))
            self.gate = nn.Linear(3, 1)

    space = ModuleSpace(lambda: OpChoice({"inner": Tempered(), "none": nn.Identity()}, key="outer"))
    cost = measured(space, "params")
    assert cost.of({"outer": "none", "inner": "linear"}) == 0
    assert cost.of({"outer": "inner", "inner": "same"}) == 1 + 4
    assert cost.of({"outer": "inner", "inner": "linear"}) == 1 + 4 + 12


def test_lazy_layers_need_a_batch_first() -> None:
    space = ModuleSpace(lambda: nn.Sequential(nn.LazyLinear(3), OpChoice({"linear": nn.LazyLinear(2)})), example=(4,))
    for kind in ("params", "macs"):
        with pytest.raises(ValueError, match=r"Expected parameters that have a shape .* run one batch first"):
            measured(space, kind)


def test_an_example_that_the_model_does_not_take() -> None:
    message = r"the first input of `example`, or of `example_input_array`, .* got torch.float32 \(1, 5\): RuntimeError"
    with pytest.raises(ValueError, match=message) as caught:
        measured(ModuleSpace(Twice, example=(5,)), "macs")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_multiply_adds_need_an_input() -> None:
    with pytest.raises(ValueError, match="Expected an example input to count multiply-adds but got none"):
        measured(ModuleSpace(Twice), "macs")


def test_measuring_leaves_the_model_as_it_was() -> None:
    model = Convolutional()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_cost(model, ChoiceMap(model), "macs", as_inputs((3, 8, 8)))
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_was_mixed_before_does_not_matter() -> None:
    space = SPACES["twice"]()
    supernet = space.supernet()
    before = measure_cost(supernet.model, supernet.choices, "macs", space.example).parts
    supernet(torch.zeros(1, 3), space.mixtures(Architecture(space.name, {"choice": "nothing"})))
    assert measure_cost(supernet.model, supernet.choices, "macs", space.example).parts == before
