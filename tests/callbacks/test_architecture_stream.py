from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

from lightning_nas.callbacks.architecture_stream import ArchitectureStream

DATA = TensorDataset(torch.arange(12))


class Noisy(Dataset[Tensor]):
    """Draws from torch's random numbers, in a worker of the loader."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return torch.rand(())


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(DATA, **{"batch_size": 4, "shuffle": True, **options})


def joined(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def numbers(stream: ArchitectureStream, epoch: int, number: int) -> list[int]:
    values: list[int] = stream.batch(epoch, number)[0].tolist()
    return values


def test_a_batch_is_a_function_of_its_place() -> None:
    straight = ArchitectureStream(loader(), seed=1)
    places = [(epoch, number) for epoch in range(2) for number in range(8)]
    batches = {place: numbers(straight, *place) for place in places}
    for place in reversed(places):
        assert numbers(ArchitectureStream(loader(), seed=1), *place) == batches[place]
    jumping = ArchitectureStream(loader(), seed=1)
    for place in [(1, 4), (0, 2), (1, 5), (0, 0)]:
        assert numbers(jumping, *place) == batches[place]


def test_every_pass_is_whole_and_in_an_order_of_its_own() -> None:
    stream = ArchitectureStream(loader(), seed=1)
    passes = [joined(numbers(stream, epoch, 3 * p + k) for k in range(3)) for epoch in range(2) for p in range(2)]
    assert all(sorted(order) == list(range(12)) for order in passes)
    assert len({tuple(order) for order in passes}) == 4
    other = ArchitectureStream(loader(), seed=2)
    assert joined(numbers(other, 0, k) for k in range(3)) != passes[0]


def test_a_sequential_loader_is_shuffled_like_any_other() -> None:
    sequential, shuffled = (ArchitectureStream(loader(shuffle=shuffle), seed=1) for shuffle in (False, True))
    for place in [(0, 0), (0, 4), (2, 1)]:
        assert numbers(sequential, *place) == numbers(shuffled, *place)


def test_all_examples_have_their_turn_in_epochs_that_are_shorter_than_the_loader() -> None:
    stream = ArchitectureStream(loader(shuffle=False), seed=1)
    seen = joined(numbers(stream, epoch, 0) for epoch in range(60))
    counts = [seen.count(example) for example in range(12)]
    assert sum(counts) == 60 * 4
    assert min(counts) >= 10  # 20 each, on average


def test_processes_share_a_larger_batch() -> None:
    one = ArchitectureStream(loader(), seed=1)
    two = [ArchitectureStream(loader(batch_size=2), 1, rank, 2) for rank in (0, 1)]
    for place in [(0, 0), (0, 1), (0, 5), (3, 2)]:
        assert sorted(joined(numbers(stream, *place) for stream in two)) == sorted(numbers(one, *place))


def test_part_of_the_data_by_a_subset_sampler() -> None:
    part = DataLoader(DATA, 2, sampler=SubsetRandomSampler([1, 5, 7, 9]))
    stream = ArchitectureStream(part, seed=1)
    seen = [numbers(stream, 0, k) for k in range(4)]
    assert sorted(joined(seen[:2])) == sorted(joined(seen[2:])) == [1, 5, 7, 9]


def test_batches_of_one_example() -> None:
    stream = ArchitectureStream(loader(batch_size=1), seed=1)
    batches = [numbers(stream, 0, k) for k in range(12)]
    assert {len(batch) for batch in batches} == {1}
    assert sorted(joined(batches)) == list(range(12))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_draw_the_same_in_every_run(persistent: bool) -> None:
    noisy = DataLoader(Noisy(), 4, num_workers=1, persistent_workers=persistent)
    straight = ArchitectureStream(noisy, seed=1)
    first, second = straight.batch(0, 0), straight.batch(0, 1)
    torch.manual_seed(5)
    assert torch.equal(ArchitectureStream(noisy, seed=1).batch(0, 0), first)
    assert not torch.equal(first, second)
    if not persistent:
        later = straight.batch(1, 0)
        assert torch.equal(ArchitectureStream(noisy, seed=1).batch(1, 0), later)
        assert not torch.equal(first, later)
