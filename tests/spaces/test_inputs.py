"""Example inputs: tensors, tuples, dictionaries and shapes."""

import pytest
import torch

from lightning_nas.spaces.choices.base import UnmixableError
from lightning_nas.spaces.inputs import Inputs, as_inputs, example_named

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


def test_the_first_of_a_batch() -> None:
    batch, mask, weights, scalar = torch.arange(6).view(3, 2), torch.ones(3, 5), torch.ones(2, 3), torch.ones(())
    first = Inputs((scalar, batch, "text"), {"mask": mask, "weights": weights}).first()
    assert first.positional[1].tolist() == [[0, 1]]
    assert first.named["mask"].shape == (1, 5)
    assert first.positional[0] is scalar
    assert first.positional[2] == "text"
    assert first.named["weights"] is weights
    assert as_inputs((3, 8, 8)).first().positional[0].shape == (1, 3, 8, 8)
    assert Inputs((), {"scalar": scalar}).first().named["scalar"] is scalar


def test_printed_by_type_and_shape() -> None:
    assert str(Inputs((X,), {"y": Y, "flag": True})) == "torch.float32 (1, 2), y=torch.float32 (1, 3), flag=True"


def test_errors_of_a_model_name_the_example() -> None:
    message = r"Expected `x` to be an input .* torch.float32 \(1, 2\): IndexError: out of range"
    with pytest.raises(ValueError, match=message) as caught, example_named("`x`", Inputs((X,), {})):
        raise IndexError("out of range")
    assert isinstance(caught.value.__cause__, IndexError)
    with pytest.raises(UnmixableError, match=r"^as it was$"), example_named("`x`", Inputs((X,), {})):
        raise UnmixableError("as it was")


@pytest.mark.parametrize("example", ["image", (), 3, (3, 8.0), (X, 3), (True, False), None])
def test_anything_else_is_refused(example: object) -> None:
    with pytest.raises(TypeError, match=r"Expected an example input, a tensor or a shape .* but got "):
        as_inputs(example)  # type: ignore[arg-type]
