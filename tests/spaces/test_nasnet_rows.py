"""Cells as rows: the counts of the specification, and the object form."""

import time
from itertools import permutations

import pytest
import torch
from torch import Tensor

from lightning_nas.spaces import NasnetSpace
from lightning_nas.spaces.nasnet_rows import block_rows, canonical_rows, count_blocks, expand, sort_pairs

EMPTY = torch.zeros(1, 0, dtype=torch.long)
Pairs = list[tuple[tuple[int, int], tuple[int, int]]]


def level(blocks: int, operations: int) -> Tensor:
    """Return all cells, each block with its pairs in order."""
    rows = EMPTY
    for _ in range(blocks):
        rows = expand(rows, operations)
    return rows


def random_rows(count: int, blocks: int, operations: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [
        torch.randint(most, (count, 2), generator=generator) for i in range(blocks) for most in (i + 2, operations)
    ]
    return torch.cat(columns, 1)


def pairs_of(row: Tensor) -> Pairs:
    return [((i, a), (j, b)) for i, j, a, b in row.reshape(-1, 4).tolist()]


def brute_force(row: Tensor) -> Pairs:
    """Return the least of all valid orders."""
    blocks, found = pairs_of(row), []
    for order in permutations(range(len(blocks))):
        number = {0: 0, 1: 1, **{block + 2: place + 2 for place, block in enumerate(order)}}
        new = [sorted((number[i], a) for i, a in blocks[block]) for block in order]
        if all(i < place + 2 for place, block in enumerate(new) for i, _ in block):
            found.append([(first, second) for first, second in new])
    return min(found)


class TestCounts:
    @pytest.mark.parametrize(
        ("operations", "blocks", "swapped", "unique"),
        [
            (1, 1, 3, 3),
            (1, 2, 18, 15),
            (1, 3, 180, 97),
            (1, 4, 2700, 807),
            (1, 5, 56700, 8328),
            (2, 1, 10, 10),
            (2, 2, 210, 165),
            (2, 3, 7560, 3840),
            (3, 1, 21, 21),
            (3, 2, 945, 735),
            (8, 1, 136, 136),
            (8, 2, 40800, 31620),
        ],
    )
    def test_of_the_specification(self, operations: int, blocks: int, swapped: int, unique: int) -> None:
        rows = level(blocks, operations)
        assert len(rows) == len(torch.unique(rows, dim=0)) == swapped
        assert len(torch.unique(canonical_rows(rows, operations), dim=0)) == unique

    @pytest.mark.parametrize("blocks", [1, 2, 3])
    def test_raw_cells_have_no_other_canonical_forms(self, blocks: int) -> None:
        choices = [torch.arange(most) for i in range(blocks) for most in (i + 2, i + 2, 2, 2)]
        raw = torch.cartesian_prod(*choices)
        assert len(raw) == [16, 576, 36864][blocks - 1]
        forms = torch.unique(canonical_rows(raw, 2), dim=0)
        assert torch.equal(forms, torch.unique(canonical_rows(level(blocks, 2), 2), dim=0))
        assert len(torch.unique(sort_pairs(raw, 2), dim=0)) == len(level(blocks, 2))

    def test_candidates_of_a_beam(self) -> None:
        """PNAS with a beam of 256: 135,168, 209,920 and 301,056 children at levels 3 to 5."""
        children = [len(expand(random_rows(256, blocks, 8), 8)) for blocks in (2, 3, 4)]
        assert children == [135_168, 209_920, 301_056]


class TestCanonical:
    @pytest.mark.parametrize("operations", [1, 2, 8])
    @pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
    def test_against_brute_force_and_objects(self, blocks: int, operations: int) -> None:
        names = NasnetSpace().operations[:operations]
        space, rows = NasnetSpace(blocks, names), random_rows(100, blocks, operations)
        canonical = canonical_rows(rows, operations)
        assert [pairs_of(row) for row in canonical] == [brute_force(row) for row in rows]
        assert space.architectures(canonical) == [space.canonical(a) for a in space.architectures(rows)]

    def test_equal_blocks_with_different_readers(self) -> None:
        """Two equal blocks, one of which is read: either may be the first."""
        one, other = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0]
        assert canonical_rows(torch.tensor([one, other]), 1).tolist() == [one, one]

    def test_many_rows(self) -> None:
        """300,000 cells of five blocks take about a second."""
        rows = random_rows(300_000, 5, 8)
        start = time.perf_counter()
        canonical = canonical_rows(rows, 8)
        assert time.perf_counter() - start < 30
        some = torch.arange(0, 300_000, 3001)
        assert torch.equal(canonical[some], canonical_rows(rows[some], 8))
        assert torch.equal(canonical_rows(canonical[some], 8), canonical[some])

    @pytest.mark.parametrize("shape", [(0, 20), (3, 0)])
    def test_nothing(self, shape: tuple[int, int]) -> None:
        assert canonical_rows(torch.zeros(shape, dtype=torch.long), 8).shape == shape

    def test_the_given_rows_stay(self) -> None:
        rows = random_rows(10, 3, 2)
        before = rows.clone()
        canonical_rows(rows, 2)
        sort_pairs(rows, 2)
        assert torch.equal(rows, before)

    def test_other_integers(self) -> None:
        rows = random_rows(10, 3, 2)
        assert torch.equal(canonical_rows(rows.to(torch.int8), 2), canonical_rows(rows, 2).to(torch.int8))


class TestExpand:
    def test_children_of_a_row_stand_together(self) -> None:
        rows = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]])
        children = expand(rows, 2)
        assert children.shape == (2 * 21, 8)
        assert torch.equal(children[:21, :4], rows[:1].expand(21, -1))
        assert torch.equal(children[21:, :4], rows[1:].expand(21, -1))
        assert torch.equal(children[:21, 4:], block_rows(3, 2))

    def test_blocks_by_hand(self) -> None:
        assert block_rows(2, 1).tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]
        assert block_rows(1, 2).tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]

    def test_of_the_three_best_of_the_oracle(self) -> None:
        """pnas T3: 63 children, 60 of them different; of all ten cells 210 and 165."""
        best = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]])
        children = expand(best, 2)
        assert (len(children), len(torch.unique(canonical_rows(children, 2), dim=0))) == (63, 60)


class TestSpace:
    def test_rows_and_back(self) -> None:
        space, generator = NasnetSpace(3), torch.Generator().manual_seed(0)
        drawn = [space.sample(generator) for _ in range(20)]
        rows = space.rows(drawn)
        assert rows.shape == (20, 12)
        assert space.architectures(rows) == drawn

    def test_by_hand(self) -> None:
        space = NasnetSpace(1)
        architecture = space.from_genotype([("max_pool_3x3", 1), ("sep_conv_5x5", 0)])
        assert space.rows([architecture]).tolist() == [[1, 0, 6, 1]]
        assert space.rows([]).shape == (0, 4)

    def test_architectures_are_of_the_space_of_so_many_blocks(self) -> None:
        space = NasnetSpace(5)
        (architecture,) = space.architectures(torch.tensor([[1, 0, 6, 1]]))
        assert architecture == NasnetSpace(1).from_genotype([("max_pool_3x3", 1), ("sep_conv_5x5", 0)])
        assert architecture.space == "nasnet?blocks=1"

    def test_methods_are_the_functions(self) -> None:
        space, rows = NasnetSpace(5, ("identity", "conv_3x3")), random_rows(5, 2, 2)
        assert torch.equal(space.expand(rows), expand(rows, 2))
        assert torch.equal(space.canonical_rows(rows), canonical_rows(rows, 2))

    @pytest.mark.parametrize("space", [NasnetSpace(cells="two"), NasnetSpace(concat="chosen")])
    def test_rows_hold_one_cell_without_flags(self, space: NasnetSpace) -> None:
        message = "Expected a space of one cell without chosen outputs for rows"
        for refused in (space.architectures, space.expand, space.canonical_rows):
            with pytest.raises(ValueError, match=message):
                refused(EMPTY)
        with pytest.raises(ValueError, match=message):
            space.rows([])


@pytest.mark.parametrize(
    "rows", [torch.zeros(4, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 4)]
)
def test_what_is_no_row(rows: Tensor) -> None:
    with pytest.raises(ValueError, match=r"Expected rows \[n, 4 \* blocks\] of integers but got"):
        count_blocks(rows)
