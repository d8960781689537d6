"""Example inputs: tensors, tuples, dictionaries and shapes."""

import pytest
import torch

from lightning_nas.spaces.inputs import Inputs, as_inputs

X, Y = torch.zeros(1, 2), torch.ones(1, 3)


def test_a_tensor() -> None:
    inputs = as_inputs(X)
    assert inputs == Inputs((X,), {})
    assert inputs.positional[0] is X


@pytest.mark.parametrize("sequence", [(X, Y), [X, Y]])
def test_several_tensors(sequence: list[torch.Tensor]) -> None:
    positional, named = as_inputs(sequence)
    assert positional[0] is X
    assert positional[1] is Y
    assert (len(positional), named) == (2, {})


def test_a_dictionary() -> None:
    given = {"x": X, "y": Y}
    positional, named = as_inputs(given)
    assert positional == ()
    assert named == given
    assert named is not given


@pytest.mark.parametrize("shape", [(3, 8, 8), [3, 8, 8], torch.Size([3, 8, 8])])
def test_a_shape_is_one_input_of_zeros(shape: list[int]) -> None:
    (tensor,), named = as_inputs(shape)
    assert tensor.shape == (1, 3, 8, 8)
    assert not tensor.any()
    assert named == {}


@pytest.mark.parametrize("example", ["image", (), 3, (3, 8.0), (X, 3), (True, False), None])
def test_anything_else_is_refused(example: object) -> None:
    with pytest.raises(TypeError, match=r"Expected an example input, a tensor or a shape .* but got "):
        as_inputs(example)  # type: ignore[arg-type]
