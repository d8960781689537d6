import pytest

from lightning_nas.datamodules.splitting import choose_indices, split_indices


def test_by_order() -> None:
    assert split_indices(10, 0.3, None) == ([0, 1, 2], [3, 4, 5, 6, 7, 8, 9])


def test_at_random() -> None:
    first, second = split_indices(100, 0.6, 5)
    assert (len(first), len(second)) == (60, 40)
    assert sorted(first + second) == list(range(100))
    assert first != sorted(first)
    assert split_indices(100, 0.6, 5) == (first, second)
    assert split_indices(100, 0.6, 6) != (first, second)


def test_too_small() -> None:
    with pytest.raises(
        ValueError, match=r"at least 2 samples but got 2 and 1: 3 samples were split with fraction 0\.6"
    ):
        split_indices(3, 0.6, 0, least=2)


def test_choice() -> None:
    chosen = choose_indices(100, 10, 0)
    assert len(set(chosen)) == 10
    assert chosen == sorted(chosen) == choose_indices(100, 10, 0)
    assert chosen != choose_indices(100, 10, 1)
    assert choose_indices(3, None, 0) == choose_indices(3, 5, 0) == [0, 1, 2]
