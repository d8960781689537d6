"""Pieces of a text side by side, their windows, and the order in which they come."""

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from lightning_nas.datamodules.text_columns import side_by_side
from lightning_nas.datamodules.text_window_sampler import TextWindowSampler
from lightning_nas.datamodules.text_window_sizes import Jitter, window_sizes
from lightning_nas.datamodules.text_windows import TextWindows
from lightning_nas.tasks.text_batch import IGNORED, TextBatch

LENGTHS = st.integers(1, 400)
JITTERS = st.sampled_from([False, True, "halve"])
EVERY = slice(None)


def text(length: int) -> torch.Tensor:
    return torch.arange(1, length + 1)


def read(windows: TextWindows, epoch: int = 0) -> list[TextBatch]:
    return [windows[number] for number in range(epoch * len(windows), (epoch + 1) * len(windows))]


def test_pieces_written_out() -> None:
    inputs, targets, state = side_by_side(text(11), 0, 3, EVERY)
    assert targets.T.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, IGNORED]]
    assert inputs.T.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 0]]
    assert state is None
    assert inputs.is_contiguous()
    assert targets.is_contiguous()


def test_shorter_pieces_are_only_a_token_shorter() -> None:
    _, targets, _ = side_by_side(text(6), 0, 4, EVERY)
    assert targets.T.tolist() == [[1, 2], [3, 4], [5, IGNORED], [6, IGNORED]]
    _, own, _ = side_by_side(text(6), 0, 4, slice(2, 4))
    assert own.T.tolist() == [[5, IGNORED], [6, IGNORED]]


@given(length=LENGTHS, pieces=st.integers(1, 30), bptt=st.integers(1, 60), jitter=JITTERS, epoch=st.integers(0, 3))
def test_windows_give_the_text_back(length: int, pieces: int, bptt: int, jitter: Jitter, epoch: int) -> None:
    batches = read(TextWindows(side_by_side(text(length), 0, pieces, EVERY), bptt, jitter), epoch)
    inputs, targets = (torch.cat([batch[which] for batch in batches]).T.flatten() for which in (0, 1))
    real = targets != IGNORED
    assert targets[real].tolist() == list(range(1, length + 1))
    assert inputs[real].tolist() == list(range(length))
    assert len(targets) - length < pieces


@given(length=LENGTHS, texts=st.integers(1, 6), world=st.integers(1, 5))
def test_columns_of_all_processes_are_those_of_one(length: int, texts: int, world: int) -> None:
    one = side_by_side(text(length), 0, texts * world, EVERY)
    parts = [
        side_by_side(text(length), 0, texts * world, slice(rank * texts, rank * texts + texts)) for rank in range(world)
    ]
    for which in (0, 1):
        assert torch.equal(torch.cat([part[which] for part in parts], dim=1), one[which])
    assert {part.inputs.shape for part in parts} == {(math.ceil(length / texts / world), texts)}


def test_windows_are_views() -> None:
    columns = side_by_side(text(20), 0, 2, EVERY)
    first, second, third = read(TextWindows(columns, 4))
    assert second.targets.tolist() == [[5, 15], [6, 16], [7, 17], [8, 18]]
    assert third.inputs.tolist() == [[8, 18], [9, 19]]
    assert first.inputs.data_ptr() == columns.inputs.data_ptr()
    assert second.targets.data_ptr() == columns.targets[4:].data_ptr()
    assert all(part.is_contiguous() for part in (first.inputs, second.targets, third.inputs))


def test_windows_can_be_sent_to_a_process() -> None:
    windows = TextWindows(side_by_side(text(50), 0, 2, EVERY), 4, jitter=True)
    again = pickle.loads(pickle.dumps(windows))
    assert torch.equal(again[3].inputs, windows[3].inputs)


def test_fixed_sizes() -> None:
    for epoch in (0, 1):
        assert window_sizes(11, 4, False, 0, epoch).tolist() == [4, 4, 3]
        assert window_sizes(12, 4, False, 0, epoch).tolist() == [4, 4, 4]
    assert window_sizes(3, 4, False, 0, 0).tolist() == [3]


@given(steps=LENGTHS, bptt=st.integers(1, 60), jitter=JITTERS, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_sizes_are_within_bounds(steps: int, bptt: int, jitter: Jitter, seed: int, epoch: int) -> None:
    sizes = window_sizes(steps, bptt, jitter, seed, epoch)
    low, high = {False: (bptt, bptt), True: (5, bptt + 20), "halve": (max(bptt // 2, 1), bptt)}[jitter]
    assert sizes.sum() == steps
    assert all(low <= size <= high for size in sizes[:-1].tolist())
    assert 1 <= sizes[-1] <= high
    assert len(sizes) == len(window_sizes(steps, bptt, jitter, seed, 0))


def test_sizes_depend_on_seed_and_epoch_only() -> None:
    first = window_sizes(5000, 35, True, 3, 1)
    torch.rand(7)
    assert torch.equal(window_sizes(5000, 35, True, 3, 1), first)
    assert not torch.equal(window_sizes(5000, 35, True, 3, 2), first)
    assert window_sizes(5000, 35, True, 3, 2).sort().values.tolist() == first.sort().values.tolist()
    other = window_sizes(5000, 35, True, 4, 1)
    assert other.sort().values.tolist() != first.sort().values.tolist()


def test_share_and_mean_of_jitter() -> None:
    sizes = window_sizes(1_000_000, 35, True, 0, 0)[:-1].double()
    # 0.95 * 35 + 0.05 * 17.5 = 34.125, half a step less for rounding down.
    assert abs(sizes.mean() - 33.625) < 0.15
    # At least a standard deviation above 35: 0.95 * 0.1587. Below 18: 0.05 * 0.5398 + 0.95 * 0.0003.
    assert abs((sizes >= 40).double().mean() - 0.1508) < 0.008
    assert abs((sizes < 18).double().mean() - 0.0273) < 0.004
    assert sizes.min() == 5
    assert 50 <= sizes.max() <= 55


def test_halving() -> None:
    sizes = window_sizes(1_000_000, 35, "halve", 0, 0)[:-1]
    assert set(sizes.tolist()) == {17, 35}
    assert abs((sizes == 17).double().mean() - 0.05) < 0.005


def test_longest_is_capped() -> None:
    assert window_sizes(100_000, 1, True, 0, 0).max() <= 21  # normal around 1, at least 5


def test_sampler_numbers_windows_through_all_epochs() -> None:
    windows = TextWindows(side_by_side(text(23), 0, 2, EVERY), 5)
    sampler = TextWindowSampler(windows, epoch=2, start=1)
    assert isinstance(sampler, DistributedSampler)
    assert (sampler.num_replicas, len(sampler)) == (1, 3)
    assert list(sampler) == [7, 8]
    assert list(sampler) == [6, 7, 8]
    sampler.set_epoch(3)
    assert list(sampler) == [9, 10, 11]


@pytest.mark.parametrize("jitter", [True, "halve"])
def test_windows_of_epochs_differ(jitter: Jitter) -> None:
    windows = TextWindows(side_by_side(text(2000), 0, 1, EVERY), 35, jitter)
    first, second = ([len(batch.inputs) for batch in read(windows, epoch)] for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)
