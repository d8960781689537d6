"""Choices among modules: values by hand, what is computed, and what is refused."""

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.spaces import Choice, Mixture, OpChoice, RepeatChoice
from lightning_nas.spaces.choices.choice_map import ChoiceMap


class Times(nn.Module):
    """Multiplies with a parameter, and counts how often."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor)))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.factor * x


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


class Shifted(nn.Module):
    """Takes more than one argument."""

    def __init__(self, sign: int) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor, shift: Tensor, *, scale: float = 1.0) -> Tensor:
        return scale * x + self.sign * shift


def times(*factors: float, key: str | None = None) -> OpChoice:
    return OpChoice({f"times{factor:g}": Times(factor) for factor in factors}, key)


def mix(choice: Choice, *weights: float, active: tuple[int, ...] | None = None) -> Tensor:
    """Give the choice a mixture of one row, and return its weights."""
    table = torch.tensor([[float(weight) for weight in weights]], requires_grad=True)
    choice.mixture = Mixture(table, None if active is None else (active,))
    return table


ONE_TWO = torch.tensor([1.0, 2.0])


class TestValues:
    def test_all_candidates_weigh_the_same_without_a_mixture(self) -> None:
        assert times(1, 2, 6)(ONE_TWO).tolist() == pytest.approx([3, 6])

    def test_weighted_sum(self) -> None:
        choice = times(1, 2, 6)
        mix(choice, 0.5, 0.25, 0.125)
        assert choice(ONE_TWO).tolist() == pytest.approx([1.75, 3.5])

    def test_gradient_of_the_weights_is_what_the_candidates_return(self) -> None:
        choice = times(1, 2, 6)
        weights = mix(choice, 0.5, 0.25, 0.125)
        choice(ONE_TWO).sum().backward()
        assert weights.grad is not None
        assert weights.grad.tolist() == [[3, 6, 18]]

    def test_only_active_candidates_are_computed(self) -> None:
        choice = times(1, 2, 6)
        mix(choice, 0.5, 0.25, 0.125, active=(0, 2))
        output = choice(ONE_TWO)
        output.sum().backward()
        assert output.tolist() == pytest.approx([1.25, 2.5])
        assert [choice.candidates[name].calls for name in choice.values] == [1, 0, 1]  # type: ignore[index]
        gradients = [parameter.grad for parameter in choice.parameters()]
        assert gradients[1] is None
        assert [g.item() for g in (gradients[0], gradients[2]) if g is not None] == pytest.approx([1.5, 0.375])

    def test_more_arguments_positional_and_named(self) -> None:
        choice = OpChoice({"plus": Shifted(1), "minus": Shifted(-1)})
        mix(choice, 0.75, 0.25)
        assert choice(ONE_TWO, torch.ones(2), scale=4.0).tolist() == pytest.approx([4.5, 8.5])
        assert choice(ONE_TWO, shift=torch.ones(2)).tolist() == pytest.approx([1.5, 2.5])

    def test_lone_candidate_may_return_anything(self) -> None:
        choice = OpChoice({"pair": Pair(), "same": nn.Identity()})
        mix(choice, 1, 0, active=(0,))
        first, second = choice(ONE_TWO)
        assert (first.tolist(), second.tolist()) == ([1, 2], [2, 4])

    def test_low_precision_stays(self) -> None:
        """Weights are float32; a network in bfloat16 or float64 goes on in its own precision."""
        for dtype in (torch.bfloat16, torch.float64):
            choice = times(1, 2).to(dtype)
            mix(choice, 0.5, 0.5)
            assert choice(ONE_TWO.to(dtype)).dtype == dtype

    def test_nested(self) -> None:
        inner = times(1, 3)
        outer = OpChoice({"inner": inner, "same": nn.Identity()})
        mix(outer, 0.25, 0.75)
        mix(inner, 0.5, 0.5)
        assert outer(ONE_TWO).tolist() == pytest.approx([1.25, 2.5])

    def test_parameter_names_say_the_candidate(self) -> None:
        choice = OpChoice({"linear": nn.Linear(2, 2), "same": nn.Identity()})
        assert [name for name, _ in choice.named_parameters()] == ["candidates.linear.weight", "candidates.linear.bias"]

    def test_properties(self) -> None:
        choice = OpChoice({"b": nn.ReLU(), "a": nn.Tanh()}, key="activation")
        assert choice.values == ("b", "a")
        assert (choice.kind, choice.slots, choice.ordered) == ("operation", 1, True)
        assert choice.leads_to("a") == ("a",)
        assert choice.container == "candidates"
        assert choice.replacement(("a",)) is choice.candidates["a"]
        assert repr(choice).startswith("OpChoice(\n  key='activation'\n")
        assert "key" not in repr(OpChoice({"a": nn.ReLU()}))


class TestRefused:
    def test_no_candidates(self) -> None:
        with pytest.raises(ValueError, match="at least one module in `candidates` but got none"):
            OpChoice({})

    def test_what_is_no_module(self) -> None:
        with pytest.raises(TypeError, match=r"candidate 'relu' to be an nn.Module but got builtin_function_or_method"):
            OpChoice({"same": nn.Identity(), "relu": torch.relu})  # type: ignore[dict-item]

    @pytest.mark.parametrize("name", ["", "a.b", "keys", "training", "forward"])
    def test_names_that_cannot_name_a_module(self, name: str) -> None:
        with pytest.raises(
            ValueError, match=f"a candidate's name without a dot, and no method's name, but got '{name}'"
        ):
            OpChoice({name: nn.Identity()})

    @pytest.mark.parametrize("key", ["", "a.b"])
    def test_keys_that_cannot_name_a_decision(self, key: str) -> None:
        with pytest.raises(ValueError, match=f"`key` to be a name without a dot but got '{key}'"):
            OpChoice({"same": nn.Identity()}, key)

    def test_outputs_of_different_shapes(self) -> None:
        choice = OpChoice({"two": nn.Linear(2, 2), "three": nn.Linear(2, 3)}, key="width")
        with pytest.raises(ValueError, match=r"one shape.*got {'two': \(2,\), 'three': \(3,\)} in OpChoice 'width'"):
            choice(ONE_TWO)

    def test_outputs_that_broadcast_are_of_different_shapes_too(self) -> None:
        choice = OpChoice({"two": nn.Identity(), "one": nn.Linear(2, 1)}, key="width")
        with pytest.raises(ValueError, match="one shape"):
            choice(ONE_TWO)

    @pytest.mark.parametrize("names", [("pair", "same"), ("same", "pair")])
    def test_outputs_that_are_no_tensors(self, names: tuple[str, str]) -> None:
        modules = {"pair": Pair(), "same": nn.Identity()}
        choice = OpChoice({name: modules[name] for name in names}, key="head")
        message = (
            r"one shape.* got {.*'pair': 'tuple'.* in OpChoice 'head'; wrap \['pair'\] so that each returns one tensor"
        )
        with pytest.raises(ValueError, match=message):
            choice(ONE_TWO)

    @pytest.mark.parametrize("names", [("relu", "tanh"), ("tanh", "relu")])
    def test_candidates_that_change_their_input(self, names: tuple[str, str]) -> None:
        modules = {"relu": nn.ReLU(inplace=True), "tanh": nn.Tanh()}
        choice = OpChoice({name: modules[name] for name in names}, key="activation")
        with pytest.raises(ValueError, match=r"inplace=False\) but got 'relu' in OpChoice 'activation'"):
            choice(torch.ones(2))

    def test_candidates_that_change_a_named_input(self) -> None:
        class Marks(nn.Module):
            def forward(self, x: Tensor, *, seen: Tensor) -> Tensor:
                seen.add_(1)
                return x

        choice = OpChoice({"marks": Marks(), "again": Marks()}, key="marks")
        with pytest.raises(ValueError, match="but got 'marks' in OpChoice 'marks'"):
            choice(ONE_TWO, seen=torch.zeros(1))

    def test_a_lone_candidate_may_change_its_input(self) -> None:
        """As it does in the model that is built."""
        choice = OpChoice({"relu": nn.ReLU(inplace=True), "tanh": nn.Tanh()})
        mix(choice, 1, 0, active=(0,))
        assert choice(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]

    def test_nothing_active(self) -> None:
        choice = times(1, 2, key="factor")
        mix(choice, 0.5, 0.5, active=())
        with pytest.raises(ValueError, match="a candidate to be active but got none in OpChoice 'factor'"):
            choice(ONE_TWO)

    def test_messages_name_the_place_once_it_is_known(self) -> None:
        choice = OpChoice({"two": nn.Linear(2, 2), "three": nn.Linear(2, 3)})
        with pytest.raises(ValueError, match=r"in OpChoice of \('two', 'three'\)$"):
            choice(ONE_TWO)
        ChoiceMap(nn.ModuleDict({"block": nn.Sequential(nn.ReLU(), choice)}))
        with pytest.raises(ValueError, match=r"in OpChoice 'block/1'$"):
            choice(ONE_TWO)


class TestObserver:
    @staticmethod
    def names(choice: Choice, x: Tensor) -> list[str]:
        """Return the branches that are entered, and left, one after the other."""
        seen: list[str] = []

        @contextmanager
        def observer(branch: str) -> Iterator[None]:
            seen.append(branch)
            yield
            seen.append("left")

        choice.observer = observer
        choice(x)
        return seen

    def test_each_branch_that_is_computed(self) -> None:
        choice = times(1, 2, 6)
        mix(choice, 0.5, 0.5, 0.5, active=(0, 2))
        assert self.names(choice, ONE_TWO) == ["times1", "left", "times6", "left"]

    def test_one_module_under_two_names(self) -> None:
        shared = Times(2)
        assert self.names(OpChoice({"a": shared, "b": shared}), ONE_TWO) == ["a", "left", "b", "left"]

    def test_blocks(self) -> None:
        shared = Times(2)
        assert self.names(RepeatChoice(lambda: shared, (0, 2)), ONE_TWO) == ["0", "left", "1", "left"]


def test_inference_mode() -> None:
    with torch.inference_mode():
        assert times(1, 3)(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([2, 4])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda choice: pickle.loads(pickle.dumps(choice))])
def test_copies_are_independent_and_compute_the_same(copied: Callable[[OpChoice], OpChoice]) -> None:
    """A mixture in an autograd graph cannot be copied, but its numbers can."""
    choice = times(1, 3, key="factor")
    weights = torch.tensor([[0.0, math.log(3)]], requires_grad=True).softmax(1)
    choice.mixture = Mixture(weights, ((0, 1),))
    other = copied(choice)
    assert_close(other(ONE_TWO), 2.5 * ONE_TWO)
    with torch.no_grad():
        next(other.parameters()).fill_(5)
        weights.copy_(torch.tensor([[1.0, 0.0]]))
    assert_close(choice(ONE_TWO), ONE_TWO)
    assert_close(other(ONE_TWO), 3.5 * ONE_TWO)
    assert (other.key, other.name, other.values) == ("factor", "factor", choice.values)
    assert copied(times(1, 3)).mixture is None
