"""Choices among tensors: slots, sums and concatenations by hand, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas.spaces import InputChoice, Mixture
from lightning_nas.spaces.choices.choice_map import ChoiceMap
from lightning_nas.spaces.choices.input_choice import Selection

A, B, C = torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]]), torch.tensor([[100.0, 200.0]])
TABLE = [[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]]
FIRST, SECOND = [28.0, 56.0], [55.0, 110.0]  # what the rows of the table make of A, B and C


def mixed(table: list[list[float]] = TABLE, active: Any = None, **options: Any) -> Tensor:
    choice = InputChoice(3, len(table), **options)
    choice.mixture = Mixture(torch.tensor(table), active)
    output: Tensor = choice([A, B, C])
    return output


class TestValues:
    def test_all_tensors_weigh_the_same_without_a_mixture(self) -> None:
        assert InputChoice(3)([A, B, C]).tolist() == [pytest.approx([37, 74])]
        assert InputChoice(3, 2)([A, B, C]).tolist() == [pytest.approx([74, 148])]

    def test_one_slot(self) -> None:
        assert mixed(TABLE[:1]).tolist() == [pytest.approx(FIRST)]

    def test_slots_are_summed(self) -> None:
        assert mixed().tolist() == [pytest.approx([83, 166])]

    def test_slots_are_concatenated_in_their_order(self) -> None:
        assert mixed(reduction="concat").tolist() == [pytest.approx(FIRST + SECOND)]
        assert mixed(TABLE[::-1], reduction="concat").tolist() == [pytest.approx(SECOND + FIRST)]

    def test_concatenation_along_another_dimension(self) -> None:
        assert mixed(reduction="concat", dim=0).tolist() == [pytest.approx(FIRST), pytest.approx(SECOND)]

    def test_only_active_tensors_get_a_gradient(self) -> None:
        tensors = [tensor.clone().requires_grad_() for tensor in (A, B, C)]
        choice = InputChoice(3, 2)
        choice.mixture = Mixture(torch.tensor(TABLE), ((0,), (2,)))
        choice(tensors).sum().backward()
        assert [None if t.grad is None else t.grad.tolist() for t in tensors] == [[[0.5, 0.5]], None, [[0.5, 0.5]]]

    def test_any_sequence_of_tensors(self) -> None:
        assert InputChoice(2)((A, B)).tolist() == [pytest.approx([5.5, 11])]

    def test_properties(self) -> None:
        summed, concatenated = InputChoice(3, 2, "skips"), InputChoice(3, 2, reduction="concat")
        assert (summed.values, summed.slots, summed.kind) == ((0, 1, 2), 2, "input")
        assert (summed.ordered, concatenated.ordered) == (False, True)
        assert summed.leads_to("anything") == (0, 1, 2)
        assert not list(summed.parameters())


class TestReplacement:
    def test_sum(self) -> None:
        selection = InputChoice(3, 2).replacement((2, 0))
        assert selection([A, B, C]).tolist() == [[101, 202]]
        assert not list(selection.state_dict())

    def test_concatenation_keeps_the_order(self) -> None:
        selection = InputChoice(3, 2, reduction="concat").replacement((2, 0))
        assert selection([A, B, C]).tolist() == [[100, 200, 1, 2]]

    def test_concatenation_along_another_dimension(self) -> None:
        assert Selection([1, 0], "concat", dim=0)([A, B]).tolist() == [[10, 20], [1, 2]]

    def test_one_tensor_is_passed_on(self) -> None:
        assert Selection([1], "sum", dim=1)([A, B]) is B

    def test_printing(self) -> None:
        assert repr(Selection([2, 0], "sum", dim=1)) == "Selection((2, 0), reduction='sum')"


class TestRefused:
    def test_none_or_all_of_the_tensors(self) -> None:
        with pytest.raises(ValueError, match="`n_chosen` to be at least 1 but got 0"):
            InputChoice(3, 0)
        with pytest.raises(ValueError, match=r"`n_candidates` to be at least 3 \(n_chosen=2 of them.* but got 2"):
            InputChoice(2, 2)

    def test_unknown_reduction(self) -> None:
        with pytest.raises(ValueError, match=r"`reduction` to be one of \['sum', 'concat'\] but got 'mean'"):
            InputChoice(3, reduction="mean")  # type: ignore[arg-type]

    def test_another_number_of_tensors(self) -> None:
        with pytest.raises(ValueError, match="Expected 3 tensors but got 2 in InputChoice 'skips'"):
            InputChoice(3, key="skips")([A, B])

    def test_tensors_of_different_shapes(self) -> None:
        choice = InputChoice(2)
        ChoiceMap(choice)
        with pytest.raises(ValueError, match=r"got {0: \(1, 2\), 1: \(2, 2\)} in InputChoice 'choice'"):
            choice([A, torch.cat([A, B])])
