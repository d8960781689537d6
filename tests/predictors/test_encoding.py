import pytest
import torch

from lightning_nas.predictors import Encoding
from lightning_nas.predictors.cell_encoder import CellEncoder
from lightning_nas.predictors.space_encoder import SpaceEncoder, make_encoder
from lightning_nas.spaces import get_space
from lightning_nas.spaces.nasbench201 import OPERATIONS
from lightning_nas.spaces.nasnet import NasnetSpace


def test_shorter_cells_are_padded_and_masked() -> None:
    tokens = Encoding((6, 8), (0, 0, 1, 1)).tokens([[[0, 1, 7, 6]], [[1, 1, 2, 3], [2, 0, 5, 4]]])
    assert tokens.ids.tolist() == [[[0, 1, 7, 6], [0, 0, 0, 0]], [[1, 1, 2, 3], [2, 0, 5, 4]]]
    assert tokens.mask.tolist() == [[True, False], [True, True]]
    assert len(tokens) == 2
    assert tokens[1:].ids.tolist() == [[[1, 1, 2, 3], [2, 0, 5, 4]]]


def test_rows_of_several_lengths_are_the_same_batch() -> None:
    encoding = Encoding((6, 8), (0, 0, 1, 1))
    cells = [[[0, 1, 7, 6]], [[1, 1, 2, 3], [2, 0, 5, 4]]]
    rows = [torch.tensor(cells[0]).reshape(1, 4), torch.tensor(cells[1], dtype=torch.uint8).reshape(1, 8)]
    assert torch.equal(encoding.of_rows(rows).ids, encoding.tokens(cells).ids)
    assert torch.equal(encoding.of_rows(rows).mask, encoding.tokens(cells).mask)


def test_fields_that_share_a_table_start_at_the_same_row() -> None:
    assert Encoding((6, 8), (0, 0, 1, 1)).starts == (0, 0, 6, 6)
    assert Encoding((2, 3, 4), (0, 1, 2)).starts == (0, 2, 5)


@pytest.mark.parametrize("fields", [(), (0, 2), (-1,)])
def test_fields_without_a_table_are_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected `fields` to name tables 0\.\.1 but got"):
        Encoding((6, 8), fields)


def test_any_space_is_one_block_with_a_field_per_decision() -> None:
    space = get_space("nasbench201")
    encoder = make_encoder(space)
    assert type(encoder) is SpaceEncoder
    assert encoder.encoding == Encoding((5,) * 6, tuple(range(6)))
    names = ("none", "avg_pool_3x3", "skip_connect", "nor_conv_3x3", "nor_conv_1x1", "none")
    values = {d.name: name for d, name in zip(space.decisions, names, strict=True)}
    tokens = encoder.encode([type(space.sample(torch.Generator()))(space.name, values)] * 2)
    assert tokens.ids.tolist() == [[[OPERATIONS.index(name) for name in names]]] * 2
    assert tokens.mask.tolist() == [[True], [True]]


def test_cells_of_blocks_are_encoded_as_in_the_paper() -> None:
    space = NasnetSpace(blocks=2)
    encoder = make_encoder(space)
    assert encoder.encoding == Encoding(tables=(3, 8), fields=(0, 0, 1, 1))
    tokens = encoder.encode(space.architectures(torch.tensor([[0, 1, 7, 3, 2, 2, 0, 5]])))
    assert tokens.ids.tolist() == [[[0, 1, 7, 3], [2, 2, 0, 5]]]
    assert tokens.mask.tolist() == [[True, True]]


@pytest.mark.parametrize("space", [NasnetSpace(2, cells="two"), NasnetSpace(2, concat="chosen")])
def test_cells_with_more_than_blocks_are_one_field_per_decision(space: NasnetSpace) -> None:
    encoder = make_encoder(space)
    assert type(encoder) is SpaceEncoder
    assert len(encoder.encoding.fields) == len(space.decisions)
    assert encoder.encode([space.sample(torch.Generator())]).ids.shape == (1, 1, len(space.decisions))
    with pytest.raises(ValueError, match="Expected a `space` of one cell without chosen outputs but got 'nasnet"):
        CellEncoder(space)
