"""Weak learners and their gates. Names like "petridish T1" are those of the spec."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.operations.weak_learner import (
    WeakLearner,
    absolute_sum,
    initial_alpha,
    select_terms,
    stop_forward,
    term_name,
)


class Scale(nn.Module):
    """Multiplies with a parameter."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class TestGates:
    def test_scalars(self) -> None:  # petridish T1
        z = torch.tensor([3.0], requires_grad=True)
        w = torch.tensor([2.0], requires_grad=True)
        candidate, alpha = Scale(0.5), nn.Parameter(torch.tensor([0.5]))
        learner = WeakLearner({(0, "scale"): candidate})
        out = w * z + stop_forward(learner({0: z}, alpha))
        loss = ((out - 10) ** 2 / 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert (out.item(), loss.item()) == (6.0, 8.0)
        gradients = [tensor.grad for tensor in (candidate.factor, alpha, w, z)]
        assert [float(g.sum()) for g in gradients if g is not None] == [-6.0, -6.0, -12.0, -8.0]

    def test_a_step_descends(self) -> None:  # petridish T3
        """After a step on a linear candidate, some of it added to the layer's output lowers the loss."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            z, x, target = torch.randn(3, 8, 4, generator=generator, dtype=torch.float64)
            candidate = nn.Linear(4, 4, bias=False).double()
            nn.init.zeros_(candidate.weight)  # h = 0 before the step: what is added is the step alone
            alpha = torch.ones(1, dtype=torch.float64)
            layer = x.clone().requires_grad_()
            learner = WeakLearner({(0, "linear"): candidate})
            loss = (layer + stop_forward(learner({0: z}, alpha)) - target).square().mean()
            (gradient,) = torch.autograd.grad(loss, [candidate.weight])
            with torch.no_grad():
                candidate.weight -= 0.1 * gradient
            step = learner({0: z}, alpha).detach()
            (slope,) = torch.autograd.grad((layer - target).square().mean(), [layer])
            assert float((slope * step).sum()) < 0  # anti-parallel to the layer's gradient
            assert float((x + 1e-3 * step - target).square().mean()) < float(loss.detach())

    def test_stop_forward_is_zero_with_the_gradient_of_the_identity(self) -> None:
        x = torch.tensor([1.5, -3.0], requires_grad=True)
        gated = stop_forward(x)
        assert gated.tolist() == [0.0, 0.0]
        (gradient,) = torch.autograd.grad(gated, [x], torch.tensor([2.0, 5.0]))
        assert gradient.tolist() == [2.0, 5.0]
        assert stop_forward(torch.tensor([torch.inf])).isnan().all()


class TestWeakLearner:
    def test_weighted_sum_of_several_inputs(self) -> None:
        learner = WeakLearner({(0, "a"): Scale(2.0), (0, "b"): nn.Identity(), (2, "a"): Scale(-1.0)})
        output = learner({0: torch.tensor([1.0, 3.0]), 2: torch.tensor([4.0, 5.0])}, torch.tensor([0.5, -1.0, 2.0]))
        assert output.tolist() == [1.0 - 1.0 - 8.0, 3.0 - 3.0 - 10.0]
        assert learner.terms == ((0, "a"), (0, "b"), (2, "a"))
        assert sorted(name for name, _ in learner.named_parameters()) == [
            "operations.0_a.factor",
            "operations.2_a.factor",
        ]

    def test_sums_in_the_precision_of_alpha(self) -> None:
        learner = WeakLearner({(0, "a"): nn.Identity(), (0, "b"): nn.Identity()})
        x = torch.tensor([256.0], dtype=torch.bfloat16)
        output = learner({0: x}, torch.tensor([1.0, 1 / 256]))
        assert output.dtype == torch.float32
        assert output.item() == 257.0  # which bfloat16 has not

    def test_names(self) -> None:
        assert term_name((12, "sep_conv_3x3")) == "12_sep_conv_3x3"


class TestAlphas:
    def test_begin_equal(self) -> None:
        alpha = initial_alpha(14)
        assert alpha.tolist() == pytest.approx([1 / 14] * 14)
        assert alpha.requires_grad

    def test_penalty_is_lasso(self) -> None:  # petridish T2
        alphas = [nn.Parameter(torch.tensor([0.5, -2.0, 0.0])), nn.Parameter(torch.tensor([-1.0]))]
        penalty = absolute_sum(alphas)
        assert penalty.item() == 3.5
        gradients = torch.autograd.grad(1e-3 * penalty, alphas)
        assert_close([g.tolist() for g in gradients], [[1e-3, -1e-3, 0.0], [-1e-3]])


class TestSelection:
    ALPHA = torch.tensor([0.02, -0.30, 0.01, 0.25, -0.05, 0.00, 0.10])

    @pytest.mark.parametrize(
        ("alpha", "options", "expected"),
        [
            (ALPHA, {}, (1, 3, 6)),
            (ALPHA, {"threshold": 0.2}, (1, 3)),
            (ALPHA, {"terms": 1}, (1,)),
            (ALPHA, {"terms": 9}, (1, 3, 6, 4, 0, 2)),
            (torch.zeros(7), {}, ()),
            (torch.tensor([1.0, -1.0, 1.0, 2.0]), {"terms": 2}, (3, 0)),
        ],
        ids=["T4", "T4-threshold", "one", "zero-is-never-kept", "T4-dropped", "ties"],
    )
    def test_by_size(self, alpha: Tensor, options: dict[str, Any], expected: tuple[int, ...]) -> None:  # petridish T4
        assert select_terms(alpha, **options) == expected

    @settings(database=None, deadline=None)
    @given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 9))
    def test_property(self, values: list[int], terms: int, threshold: int) -> None:
        kept = select_terms(torch.tensor(values, dtype=torch.float32), terms, threshold)
        sizes = [abs(value) for value in values]
        assert len(kept) == min(terms, sum(size > threshold for size in sizes))
        assert sorted((sizes[k] for k in kept), reverse=True) == [sizes[k] for k in kept]
        assert all(sizes[k] > threshold for k in kept)
        assert max([sizes[k] for k in range(len(values)) if k not in kept], default=0) <= max(
            min([sizes[k] for k in kept], default=0), threshold
        )

    @pytest.mark.parametrize(
        ("alpha", "options", "message"),
        [
            (ALPHA, {"terms": 0}, "Expected `terms` to be at least 1 but got 0"),
            (ALPHA, {"threshold": -0.1}, "Expected `threshold` to be at least 0 but got -0.1"),
            (ALPHA, {"threshold": float("nan")}, "Expected `threshold` to be at least 0 but got nan"),
            (torch.tensor([0.1, torch.nan]), {}, "Expected finite alphas but got NaN or infinity"),
            (torch.tensor([0.1, torch.inf]), {}, "Expected finite alphas but got NaN or infinity"),
        ],
    )
    def test_errors(self, alpha: Tensor, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            select_terms(alpha, **options)
