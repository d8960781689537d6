"""The gradients of DARTS against numbers computed by hand, and against exact second derivatives."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from threading import Barrier, Thread
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import SGD

from lightning_nas.methods import bilevel
from lightning_nas.methods.bilevel import SecondOrder, first_order

Hessian = Literal["finite_difference", "exact"]
HESSIANS: tuple[Hessian, ...] = ("finite_difference", "exact")
both_hessians = pytest.mark.parametrize("hessian", HESSIANS)


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def sgd(weight: Tensor, buffer: Sequence[float] | None = None, **options: Any) -> SGD:
    """SGD in the middle of a training, with a given momentum buffer."""
    optimizer = SGD([weight], **options)
    if buffer is not None:
        optimizer.state[weight]["momentum_buffer"] = torch.tensor(buffer, dtype=torch.float64)
    return optimizer


# ---------------------------------------------------------------- one weight, one alpha: figure 2 of the paper


class Scalar:
    """``L_train = w^2 - 2 alpha w + alpha^2`` and ``L_val = alpha w - 2 alpha + 1``; the optimum is at (1, 1)."""

    def __init__(self, alpha: float, w: float) -> None:
        self.alpha = leaf(alpha)
        self.w = leaf(w)

    def training(self) -> Tensor:
        return (self.w**2 - 2 * self.alpha * self.w + self.alpha**2).sum()

    def validation(self) -> Tensor:
        return (self.alpha * self.w - 2 * self.alpha + 1).sum()

    def first_order(self) -> float:
        return first_order(self.validation, [self.alpha])[0].item()

    def second_order(self, hessian: Hessian, buffer: Sequence[float] | None = None, **options: float) -> float:
        second = SecondOrder([self.w], sgd(self.w, buffer, **options), hessian)
        return second.gradient(self.training, self.validation, [self.alpha])[0].item()


def test_scalar_first_order() -> None:
    assert Scalar(2, -2).first_order() == -4


@both_hessians
@pytest.mark.parametrize(
    ("options", "buffer", "expected"),
    [
        ({"lr": 0.1}, None, -2.8),
        ({"lr": 0.5}, None, 2.0),  # 0 without the implicit term
        ({"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, [1.0], -2.87),
    ],
)
def test_scalar_second_order(
    hessian: Hessian, options: dict[str, float], buffer: list[float] | None, expected: float
) -> None:
    problem = Scalar(2, -2)
    assert problem.second_order(hessian, buffer, **options) == pytest.approx(expected, rel=1e-12)
    assert problem.w.item() == -2


def descend(problem: Scalar, gradient: Callable[[], float]) -> tuple[float, float]:
    """Iterate with learning rate 0.5: a weight step goes to the minimum of the training loss, ``w = alpha``."""
    for _ in range(200):
        step = gradient()
        with torch.no_grad():
            problem.alpha -= 0.1 * step
            problem.w -= 0.5 * (2 * problem.w - 2 * problem.alpha)
    return problem.alpha.item(), problem.w.item()


def test_first_order_iterated_misses_the_optimum() -> None:
    problem = Scalar(2, -2)
    assert descend(problem, problem.first_order) == pytest.approx((2, 2), abs=1e-6)


@both_hessians
def test_second_order_iterated_finds_the_optimum(hessian: Hessian) -> None:
    problem = Scalar(2, -2)
    assert descend(problem, lambda: problem.second_order(hessian, lr=0.5)) == pytest.approx((1, 1), abs=1e-6)


# ---------------------------------------------------------------- two candidates mixed by a softmax


class Mixed:
    """``y = softmax(alpha) . w`` should become 1 in training and 0 in validation (squared error, halved).

    The alpha gradient is quadratic in ``w``, so the central difference is exact.
    """

    def __init__(self, *alpha: float, w: Sequence[float] = (1, 3)) -> None:
        self.alpha = leaf(*alpha)
        self.w = leaf(*w)

    def loss(self, target: float) -> Tensor:
        return 0.5 * (self.alpha.softmax(0) @ self.w - target) ** 2

    def training(self) -> Tensor:
        return self.loss(1)

    def validation(self) -> Tensor:
        return self.loss(0)


def test_mixed_first_order() -> None:
    problem = Mixed(0, 0)
    assert first_order(problem.validation, [problem.alpha])[0].tolist() == [-1, 1]


@both_hessians
def test_mixed_second_order(hessian: Hessian) -> None:
    problem = Mixed(0, 0)
    second = SecondOrder([problem.w], sgd(problem.w, lr=0.1), hessian)
    [gradient] = second.gradient(problem.training, problem.validation, [problem.alpha])
    assert gradient.tolist() == pytest.approx([-0.92625, 0.92625], rel=1e-10)


# What frequent mistakes return for the problem below.
WRONG = {
    "plus sign": 0.59707627,
    "the difference times epsilon, not divided by it": 0.56964765,
    "difference around w'": 0.54039242,
    "weight decay in v": 0.54147989,
    "no momentum and no weight decay": 0.53012695,
    "difference on the validation batch": 0.55593642,
}


@both_hessians
def test_mixed_second_order_with_momentum_and_decay(hessian: Hessian) -> None:
    problem = Mixed(math.log(3), 0)
    optimizer = sgd(problem.w, [0.2, -0.4], lr=0.1, momentum=0.9, weight_decay=0.01)
    second = SecondOrder([problem.w], optimizer, hessian)
    [gradient] = second.gradient(problem.training, problem.validation, [problem.alpha])
    assert gradient.tolist() == pytest.approx([-0.54222314, 0.54222314], abs=5e-9)
    near = [name for name, value in WRONG.items() if abs(gradient[1].item() - value) < 5e-4]
    assert near == []


numbers = st.floats(-3, 3, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers), st.tuples(numbers, numbers), st.floats(1e-3, 1))
def test_difference_is_exact_where_the_gradient_is_quadratic(
    alpha: tuple[float, float], w: tuple[float, float], buffer: tuple[float, float], rate: float
) -> None:
    found = []
    for hessian in HESSIANS:
        problem = Mixed(*alpha, w=w)
        optimizer = sgd(problem.w, buffer, lr=rate, momentum=0.9, weight_decay=0.01)
        second = SecondOrder([problem.w], optimizer, hessian)
        found += second.gradient(problem.training, problem.validation, [problem.alpha])
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-9)


# ---------------------------------------------------------------- a small smooth network


class Smooth(nn.Module):
    """Mixes a convolution, an average pooling and the identity; smooth in weights and alphas."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.mixed = nn.Conv2d(3, 3, 3, padding=1)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.last = nn.Linear(3, 4)
        self.unused = nn.Linear(2, 2)
        self.double()
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) / 2)
        self.batches = {
            stage: (torch.randn(4, 2, 5, 5, generator=generator).double(), torch.randint(4, (4,), generator=generator))
            for stage in ("training", "validation")
        }
        self.alphas = [torch.randn(size, generator=generator).double().requires_grad_() for size in (3, 2)]
        self.weights = list(self.parameters())

    def loss(self, stage: str) -> Tensor:
        images, labels = self.batches[stage]
        p, q = (alpha.softmax(0) for alpha in self.alphas)
        x = softplus(self.first(images))
        x = p[0] * softplus(self.mixed(x)) + p[1] * self.pool(x) + p[2] * x
        pooled = x.mean((2, 3))
        return nn.functional.cross_entropy(self.last(q[0] * pooled + q[1] * pooled.tanh()), labels)

    def training_loss(self) -> Tensor:
        return self.loss("training")

    def validation_loss(self) -> Tensor:
        return self.loss("validation")

    def optimizer(self, steps: int = 2) -> SGD:
        """SGD with two groups of different settings that has made some steps already."""
        early = {"params": self.weights[:3], "lr": 0.2, "momentum": 0.5, "weight_decay": 0.1}
        late = {"params": self.weights[3:], "lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}
        optimizer = SGD([early, late])
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(self.training_loss())
            optimizer.step()
        optimizer.zero_grad()
        return optimizer

    def second_order(self, optimizer: SGD, hessian: Hessian = "finite_difference", **options: Any) -> list[Tensor]:
        second = SecondOrder(self.weights, optimizer, hessian, **options)
        return second.gradient(self.training_loss, self.validation_loss, self.alphas)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


def by_the_chain_rule(net: Smooth, optimizer: SGD) -> list[Tensor]:
    """Return the derivative of ``L_val(w'(alpha), alpha)`` by letting autograd look through the whole step."""
    names = {weight: name for name, weight in net.named_parameters()}
    g = torch.autograd.grad(net.training_loss(), net.weights, create_graph=True, allow_unused=True)
    of_weight = dict(zip(net.weights, g, strict=True))
    moved = {}
    for group in optimizer.param_groups:
        for weight in group["params"]:
            buffer = optimizer.state.get(weight, {}).get("momentum_buffer", torch.zeros_like(weight))
            gradient = torch.zeros_like(weight) if of_weight[weight] is None else of_weight[weight]
            step = group["momentum"] * buffer + gradient + group["weight_decay"] * weight
            moved[names[weight]] = weight - group["lr"] * step

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self) -> Tensor:
            return self.net.validation_loss()

    loss = torch.func.functional_call(Loss(), {f"net.{name}": value for name, value in moved.items()}, ())
    return list(torch.autograd.grad(loss, net.alphas))


@pytest.mark.parametrize("steps", [0, 2])
def test_exact_second_order_is_the_derivative_through_the_step(steps: int) -> None:
    net = Smooth()
    optimizer = net.optimizer(steps)
    found = net.second_order(optimizer, "exact")
    expected = by_the_chain_rule(net, optimizer)
    assert relative_error(found, expected) < 1e-12
    # the implicit part is not small, so a mistake in it shows
    assert relative_error(first_order(net.validation_loss, net.alphas), expected) > 1e-2


@pytest.mark.parametrize("steps", [0, 2])
def test_finite_difference_is_near_the_exact_product(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bilevel, "EPSILON", 1e-4)
    net = Smooth()
    optimizer = net.optimizer(steps)
    explicit: list[Tensor] = []

    def validation_loss() -> Tensor:  # called at the look-ahead
        explicit[:] = torch.autograd.grad(net.validation_loss(), net.alphas)
        return net.validation_loss()

    implicit = {}
    for hessian in HESSIANS:
        total = SecondOrder(net.weights, optimizer, hessian).gradient(net.training_loss, validation_loss, net.alphas)
        implicit[hessian] = [t - d for t, d in zip(total, explicit, strict=True)]
    assert relative_error(implicit["finite_difference"], implicit["exact"]) < 1e-6


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_virtual_step_is_the_step_of_sgd(steps: int) -> None:
    """The weights under which the validation loss is called are those of ``SGD.step`` on a twin."""
    net = Smooth()
    optimizer = net.optimizer(steps)
    seen: list[Tensor] = []

    def validation_loss() -> Tensor:
        seen.append(flat(net.weights))
        return net.validation_loss()

    SecondOrder(net.weights, optimizer).gradient(net.training_loss, validation_loss, net.alphas)
    twin = Smooth()
    twin_optimizer = twin.optimizer(steps)
    for weight in twin.weights:
        weight.grad = torch.zeros_like(weight)  # SGD skips weights that the loss never met, decay and all
    torch.autograd.backward(twin.training_loss())
    twin_optimizer.step()
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], flat(twin.weights), rtol=1e-14, atol=1e-15)
    assert not torch.equal(seen[0], flat(net.weights))


def test_finite_difference_stands_around_w_with_the_paper_s_length() -> None:
    net = Smooth()
    optimizer = SGD(net.weights, lr=0.1)
    seen: list[Tensor] = []

    def training_loss() -> Tensor:
        seen.append(flat(net.weights))
        return net.training_loss()

    before = flat(net.weights)
    SecondOrder(net.weights, optimizer).gradient(training_loss, net.validation_loss, net.alphas)
    at_w, plus, minus = seen
    assert torch.equal(at_w, before)
    assert float((plus - before).norm()) == pytest.approx(0.01, rel=1e-9)
    torch.testing.assert_close(plus + minus, 2 * before, rtol=0, atol=1e-15)


@both_hessians
def test_two_learning_rates_are_both_in_the_direction(hessian: Hessian, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bilevel, "EPSILON", 1e-4)
    net = Smooth()
    optimizer = net.optimizer()
    expected = by_the_chain_rule(net, optimizer)
    assert relative_error(net.second_order(optimizer, hessian), expected) < 1e-7
    one_rate = SGD(net.weights, lr=0.2, momentum=0.5, weight_decay=0.1)
    one_rate.state = optimizer.state
    assert relative_error(net.second_order(one_rate, hessian), expected) > 1e-3


# ---------------------------------------------------------------- clipping, as for language models


@pytest.mark.parametrize("clip", [0.05, 0.25, 100.0])
@both_hessians
def test_clipping_of_both_gradients(hessian: Hessian, clip: float) -> None:
    problem = Mixed(math.log(3), 0)
    second = SecondOrder([problem.w], sgd(problem.w, lr=0.1), hessian, clip=clip)
    [gradient] = second.gradient(problem.training, problem.validation, [problem.alpha])

    p, w, xi = torch.tensor([0.75, 0.25], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64), 0.1

    def coefficient(g: Tensor) -> float:
        return min(1.0, clip / (float(g.norm()) + 1e-6))  # the authors forget the minimum

    g = (p @ w - 1) * p
    c = coefficient(g)
    ahead = w - xi * c * g
    y = p @ ahead
    v = y * p
    v = coefficient(v) * v
    # d/dw of dL_train/dalpha_k = (y - 1) p_k (w_k - y), times v
    y_w, v_y = p @ w, p @ v
    product = v_y * p * (w - y_w) + (y_w - 1) * p * (v - v_y)
    expected = y * p * (ahead - y) - xi * c * product
    assert gradient.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_clipping_far_above_the_norm_changes_nothing() -> None:
    net = Smooth()
    optimizer = net.optimizer()
    assert torch.equal(flat(net.second_order(optimizer, clip=1e6)), flat(net.second_order(optimizer)))


# ---------------------------------------------------------------- what must not change


@both_hessians
def test_nothing_is_left_behind(hessian: Hessian) -> None:
    net = Smooth()
    optimizer = SGD(net.weights, lr=0.1, momentum=0.9)  # no state yet
    before = [weight.detach().clone() for weight in net.weights]
    net.second_order(optimizer, hessian)
    assert all(torch.equal(a, b) for a, b in zip(net.weights, before, strict=True))
    assert [tensor.grad for tensor in (*net.weights, *net.alphas)] == [None] * (len(net.weights) + 2)
    assert len(optimizer.state) == 0
    assert all(weight.requires_grad for weight in net.weights)


@both_hessians
def test_momentum_buffers_and_gradients_stay(hessian: Hessian) -> None:
    net = Smooth()
    optimizer = net.optimizer()
    torch.autograd.backward(net.training_loss())
    buffers = {weight: state["momentum_buffer"].clone() for weight, state in optimizer.state.items()}
    gradients = [None if weight.grad is None else weight.grad.clone() for weight in net.weights]
    net.second_order(optimizer, hessian)
    assert optimizer.state.keys() == buffers.keys()
    assert all(torch.equal(optimizer.state[weight]["momentum_buffer"], buffers[weight]) for weight in buffers)
    for weight, gradient in zip(net.weights, gradients, strict=True):
        assert (weight.grad is None and gradient is None) or torch.equal(weight.grad, gradient)  # type: ignore[arg-type]


@pytest.mark.parametrize("failing", ["training 1", "validation 1", "training 2", "training 3"])
def test_weights_come_back_after_an_exception(failing: str) -> None:
    net = Smooth()
    optimizer = net.optimizer()
    before = [weight.detach().clone() for weight in net.weights]
    calls = {"training": 0, "validation": 0}

    def loss(stage: str) -> Callable[[], Tensor]:
        def compute() -> Tensor:
            calls[stage] += 1
            if failing == f"{stage} {calls[stage]}":
                raise RuntimeError(failing)
            return net.loss(stage)

        return compute

    with pytest.raises(RuntimeError, match=failing):
        SecondOrder(net.weights, optimizer).gradient(loss("training"), loss("validation"), net.alphas)
    assert all(torch.equal(a, b) for a, b in zip(net.weights, before, strict=True))


NEW_NAMES = hasattr(torch.backends.cuda.matmul, "fp32_precision")  # torch 2.9


def precisions() -> list[object]:
    """How exact float32 products and convolutions are to be."""
    if NEW_NAMES:
        backends: Any = torch.backends
        places = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
        return [place.fp32_precision for place in places]
    return [not torch.backends.cuda.matmul.allow_tf32, not torch.backends.cudnn.allow_tf32]


def assert_difference_is_in_full_precision() -> None:
    net = Smooth()
    before, seen = precisions(), []

    def training_loss() -> Tensor:
        seen.append(precisions())
        if len(seen) == 3:
            raise RuntimeError("stop")
        return net.training_loss()

    with pytest.raises(RuntimeError, match="stop"):
        SecondOrder(net.weights, net.optimizer()).gradient(training_loss, net.validation_loss, net.alphas)
    exact = ["ieee"] * 4 if NEW_NAMES else [True] * 2
    assert before != exact
    assert seen == [before, exact, exact]
    assert precisions() == before


def test_difference_is_in_full_precision() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        assert_difference_is_in_full_precision()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not NEW_NAMES, reason="torch before 2.9")
def test_difference_is_in_full_precision_with_the_new_names() -> None:
    """Torch raises an error when the new names are set and the old ones are read."""
    products: Any = torch.backends.cuda.matmul
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
        assert_difference_is_in_full_precision()
    finally:
        products.fp32_precision = before


# ---------------------------------------------------------------- borders


@both_hessians
def test_a_validation_loss_without_weights_has_no_correction(hessian: Hessian) -> None:
    net = Smooth()
    second = SecondOrder(net.weights, net.optimizer(), hessian)
    gradient = second.gradient(net.training_loss, lambda: (flat_with_graph(net.alphas) ** 3).sum(), net.alphas)
    for found, alpha in zip(gradient, net.alphas, strict=True):
        torch.testing.assert_close(found, 3 * alpha.detach() ** 2)


def flat_with_graph(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


class Overflow(torch.autograd.Function):
    """The identity, with an infinite gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_overflowed_validation_gradient_leaves_the_correction_out(dtype: torch.dtype) -> None:
    weight = torch.ones(2, dtype=dtype, requires_grad=True)
    alpha = torch.ones(2, dtype=dtype, requires_grad=True)

    def validation_loss() -> Tensor:
        overflowing: Tensor = Overflow.apply(weight)
        return (alpha * 2).sum() + overflowing.sum()

    second = SecondOrder([weight], SGD([weight], lr=0.1))
    [gradient] = second.gradient(lambda: (alpha * weight).sum() ** 2, validation_loss, [alpha])
    assert gradient.tolist() == [2, 2]
    assert weight.tolist() == [1, 1]


def test_alphas_that_no_loss_reads_have_gradient_zero() -> None:
    net = Smooth()
    idle = torch.ones(3, dtype=torch.float64, requires_grad=True)
    [*_, gradient] = first_order(net.validation_loss, [*net.alphas, idle])
    assert gradient.tolist() == [0, 0, 0]
    second = SecondOrder(net.weights, net.optimizer())
    [*_, gradient] = second.gradient(net.training_loss, net.validation_loss, [*net.alphas, idle])
    assert gradient.tolist() == [0, 0, 0]


# ---------------------------------------------------------------- autocast


class LowPrecision:
    """A linear model under bfloat16 autocast, with a learning rate that moves the weights far."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.w = torch.randn(8, 8, generator=generator).requires_grad_()
        self.alpha = torch.randn(8, generator=generator).requires_grad_()
        self.x = torch.randn(2, 16, 8, generator=generator)

    def loss(self, stage: int) -> Tensor:
        y = torch.nn.functional.linear(self.x[stage], self.w).float() * self.alpha.softmax(0)
        return ((y - 1 + stage) ** 2).sum(1).mean()

    def gradient(self, *, autocast: bool) -> Tensor:
        second = SecondOrder([self.w], SGD([self.w], lr=0.5))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            [gradient] = second.gradient(lambda: self.loss(0), lambda: self.loss(1), [self.alpha])
        return gradient


def test_autocast_uses_the_weights_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = LowPrecision()
    expected = problem.gradient(autocast=False)
    assert relative_error([problem.gradient(autocast=True)], [expected]) < 0.02
    # autocast keeps low-precision copies of weights: unless they are dropped, w' is never seen
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: None)
    assert relative_error([problem.gradient(autocast=True)], [expected]) > 0.1


def test_difference_is_taken_in_full_precision() -> None:
    problem = LowPrecision()
    seen: list[bool] = []

    def training_loss() -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return problem.loss(0)

    with torch.autocast("cpu", torch.bfloat16):
        SecondOrder([problem.w], SGD([problem.w], lr=0.5)).gradient(
            training_loss, lambda: problem.loss(1), [problem.alpha]
        )
        assert torch.is_autocast_enabled("cpu")
    assert seen == [True, False, False]


# ---------------------------------------------------------------- two ranks


@both_hessians
@pytest.mark.parametrize(
    ("virtual_step", "expected"), [("local", (-0.3421875, 0.3421875)), ("global", (-0.34716797, 0.34716797))]
)
def test_two_ranks(
    hessian: Hessian,
    virtual_step: Literal["local", "global"],
    expected: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads stand for two processes: ``reduce`` waits for the other and takes the mean."""
    # precision is a setting of the process: the threads would put back each other's
    monkeypatch.setattr("lightning_nas.methods.bilevel.full_precision", lambda device: nullcontext())
    barrier = Barrier(2, timeout=30)
    posted: dict[int, list[Tensor]] = {}
    found: dict[int, list[Tensor]] = {}

    def work(rank: int) -> None:
        def reduce(tensors: Sequence[Tensor]) -> list[Tensor]:
            posted[rank] = [tensor.detach().clone() for tensor in tensors]
            barrier.wait()
            mean = [(a + b) / 2 for a, b in zip(posted[0], posted[1], strict=True)]
            barrier.wait()
            return mean

        problem = Mixed(math.log(3), 0)
        second = SecondOrder([problem.w], sgd(problem.w, lr=0.1), hessian, virtual_step=virtual_step, reduce=reduce)
        training, validation = (partial(problem.loss, target) for target in ((1, 0)[rank], (0, 1)[rank]))
        found[rank] = second.gradient(training, validation, [problem.alpha])

    threads = [Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in (0, 1):
        assert found[rank][0].tolist() == pytest.approx(expected, abs=5e-9)


def test_ranks_differ_before_they_are_averaged() -> None:
    for (training, validation), expected in (((1, 0), 0.53012695), ((0, 1), 0.15424805)):
        problem = Mixed(math.log(3), 0)
        second = SecondOrder([problem.w], sgd(problem.w, lr=0.1))
        losses = partial(problem.loss, training), partial(problem.loss, validation)
        [gradient] = second.gradient(*losses, [problem.alpha])
        assert gradient.tolist() == pytest.approx([-expected, expected], abs=5e-9)
