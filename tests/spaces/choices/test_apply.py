"""Choices are replaced by what was chosen, in a module that goes on living."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import Choice, InputChoice, OpChoice, RepeatChoice, apply_architecture
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.choices.input_choice import Selection


class Model(nn.Module):
    """Holds every kind of choice, one of them nested and one in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})
        inner = OpChoice({"plain": nn.Linear(4, 4), "deep": nn.Sequential(nn.Linear(4, 4), self.shared)}, key="inner")
        self.body = OpChoice({"same": nn.Identity(), "inner": inner}, key="body")
        self.repeat = RepeatChoice(lambda: nn.Linear(4, 4), (0, 1, 2), key="depth")
        self.skip = InputChoice(3, 2, key="skip")

    def forward(self, x: Tensor) -> Tensor:
        body = self.shared(self.body(x))
        output: Tensor = self.skip([x, body, self.repeat(body)])
        return output


VALUES: dict[str, str | int] = {
    "shared": "tanh",
    "body": "inner",
    "inner": "deep",
    "depth": 1,
    "skip/0": 1,
    "skip/1": 2,
}


class TestApply:
    def test_modules_stand_in_the_place_of_the_choices(self) -> None:
        model = Model()
        linear, tanh = model.body.candidates["inner"].candidates["deep"][0], model.shared.candidates["tanh"]  # type: ignore[index]
        block = model.repeat.blocks[0]
        assert apply_architecture(model, Architecture("any name", VALUES)) is model
        assert model.shared is tanh
        assert isinstance(model.body, nn.Sequential)
        assert list(model.body) == [linear, tanh]
        assert isinstance(model.repeat, nn.Sequential)
        assert list(model.repeat) == [block]
        assert isinstance(model.skip, Selection)
        assert model.skip.indices == (1, 2)
        assert not any(isinstance(module, Choice) for module in model.modules())
        assert list(model.state_dict()) == ["body.0.weight", "body.0.bias", "repeat.0.weight", "repeat.0.bias"]

    def test_output_is_that_of_the_mixture(self) -> None:
        torch.manual_seed(0)
        model, x = Model(), torch.randn(3, 4)
        choices = ChoiceMap(model)
        choices.set_mixtures(choices.mixtures(VALUES))
        expected = model(x)
        assert_close(apply_architecture(model, Architecture("m", VALUES))(x), expected)

    def test_optimisers_of_kept_parameters_go_on(self) -> None:
        """The parameters are the same objects."""
        model = Model()
        before = set(model.parameters())
        apply_architecture(model, Architecture("m", VALUES))
        assert set(model.parameters()) < before

    def test_the_module_itself(self) -> None:
        relu = nn.ReLU()
        choice = OpChoice({"relu": relu, "tanh": nn.Tanh()})
        assert apply_architecture(choice, Architecture("m", {"choice": "relu"})) is relu

    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "architecture.json"
        Architecture("m", {"act": "tanh"}).save(path)
        for file in (path, str(path)):
            model = nn.ModuleDict({"act": OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})})
            apply_architecture(model, file)
            assert isinstance(model["act"], nn.Tanh)

    def test_a_choice_in_two_places_becomes_one_module(self) -> None:
        shared = RepeatChoice(lambda: nn.Linear(4, 4), (1, 2))
        model = apply_architecture(nn.ModuleDict({"a": shared, "b": shared}), Architecture("m", {"a": 1}))
        assert isinstance(model, nn.ModuleDict)
        assert model["a"] is model["b"]

    def test_a_choice_in_two_places_of_different_depth(self) -> None:
        """The deeper place is replaced first, whichever comes first in the model."""
        for turned in (False, True):
            inner = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="inner")
            outer = OpChoice({"inner": inner, "same": nn.Identity()}, key="outer")
            parts: list[nn.Module] = [outer, nn.Sequential(nn.Sequential(outer)), inner]
            model = nn.Sequential(*(reversed(parts) if turned else parts))
            apply_architecture(model, Architecture("m", {"outer": "inner", "inner": "tanh"}))
            assert [type(module) for module in model.modules() if not isinstance(module, nn.Sequential)] == [nn.Tanh]
            assert len(list(model.named_modules(remove_duplicate=False))) == 6


class TestStates:
    """A model whose only difference is whether its activation is decided: the weights have the same names."""

    @staticmethod
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="act"))

    def test_decided_and_undecided_models_do_not_load_into_each_other(self) -> None:
        undecided, decided = self.model(), apply_architecture(self.model(), Architecture("m", {"act": "tanh"}))
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1._extra_state"'):
            undecided.load_state_dict(decided.state_dict())
        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "1._extra_state"'):
            decided.load_state_dict(undecided.state_dict())
        undecided.load_state_dict(decided.state_dict(), strict=False)
        assert_close(dict(undecided.named_parameters()), dict(decided.named_parameters()))

    def test_through_a_file_and_a_copy(self, tmp_path: Path) -> None:
        first, second = self.model(), self.model()
        torch.save(copy.deepcopy(first).state_dict(), tmp_path / "state.pt")
        second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert_close(second.state_dict(), first.state_dict())


class TestRefused:
    def refused(self, values: dict[str, str | int], message: str) -> None:
        model = Model()
        before = str(model)
        with pytest.raises(ValueError, match=message):
            apply_architecture(model, Architecture("m", values))
        assert str(model) == before

    def test_missing_decision(self) -> None:
        values = {name: value for name, value in VALUES.items() if name != "depth"}
        self.refused(values, r"Expected 'depth' to be one of \(0, 1, 2\) but got None")

    def test_foreign_value(self) -> None:
        self.refused({**VALUES, "shared": "gelu"}, r"Expected 'shared' to be one of \('relu', 'tanh'\) but got 'gelu'")

    def test_unknown_decision(self) -> None:
        self.refused({**VALUES, "width": 3}, r"Expected decisions of Model but got unknown \['width'\]")

    def test_one_input_twice(self) -> None:
        self.refused({**VALUES, "skip/0": 2}, r"Expected different inputs for choice 'skip' but got \(2, 2\)")

    def test_no_choices_any_more(self) -> None:
        model = apply_architecture(Model(), Architecture("m", VALUES))
        with pytest.raises(ValueError, match="Expected Model to hold an OpChoice, InputChoice or RepeatChoice"):
            apply_architecture(model, Architecture("m", VALUES))

    def test_a_choice_that_is_still_called(self) -> None:
        class Hidden(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.act = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()})
                self.again = [self.act]

            def forward(self, x: Tensor) -> Tensor:
                output: Tensor = self.again[0](x)
                return output

        model = apply_architecture(Hidden(), Architecture("m", {"act": "relu"}))
        with pytest.raises(
            RuntimeError, match=r"Expected OpChoice 'act' to be gone .* the model still calls it; .*List"
        ):
            model(torch.ones(1))
