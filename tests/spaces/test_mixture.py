"""Mixtures: shape checks and rows."""

import pytest
import torch

from lightning_nas.spaces import Mixture


def test_all_candidates_are_active_by_default() -> None:
    mixture = Mixture(torch.tensor([[0.2, 0.8], [0.5, 0.5]]))
    weights, active = mixture.row(0)
    assert weights.tolist() == pytest.approx([0.2, 0.8])
    assert active == (0, 1)
    assert mixture.computes(1)


def test_rows_may_be_inactive() -> None:
    mixture = Mixture(torch.eye(2), ((0,), ()))
    assert mixture.row(0)[1] == (0,)
    assert (mixture.computes(0), mixture.computes(1)) == (True, False)


def test_weights_must_be_a_table() -> None:
    with pytest.raises(ValueError, match=r"shape \[rows, candidates\] but got \(8,\)"):
        Mixture(torch.zeros(8))


def test_active_must_have_a_row_for_every_row() -> None:
    with pytest.raises(ValueError, match="`active` for 3 rows but got 1"):
        Mixture(torch.zeros(3, 2), ((0,),))
