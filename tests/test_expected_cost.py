from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas import InputChoice, ModuleSpace, OpChoice, RepeatChoice, count_multiply_adds, count_parameters
from lightning_nas.architecture import Architecture
from lightning_nas.expected_cost import ExpectedCost, measure_cost
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.inputs import as_inputs
from lightning_nas.spaces.mixture import Mixture


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


SPACES: dict[str, Callable[[], ModuleSpace]] = {
    "convolutional": lambda: ModuleSpace(Convolutional, example=(3, 8, 8)),
    "twice": lambda: ModuleSpace(Twice, example=(3,)),
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
    return count_parameters(network) if kind == "params" else count_multiply_adds(network, *space.example.positional)


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


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_expected_cost_is_the_mean_over_all_architectures(kind: str) -> None:
    space = SPACES["convolutional"]()
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
    mean = sum(probability(a) / 6 * count(space, kind, a) for a in every(space))
    assert_close(float(cost({name: Mixture(table) for name, table in weights.items()})), mean, rtol=1e-12, atol=0)


def test_gradient_is_the_difference_that_a_candidate_makes() -> None:
    space = SPACES["twice"]()
    weights = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(measured(space, "macs")({"choice": Mixture(weights)}), weights)
    assert gradient.tolist() == [[18.0, 18.0, 0.0]]


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
