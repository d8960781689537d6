from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from lightning_nas import DartsModule
from lightning_nas.methods.hessian import Product, dense_hessian, hessian_product, lanczos, largest_eigenvalue

EIGENVALUES = [-5.0, -1.0, 0.0, 0.0, 0.5, 0.5, 1.0, 2.0, 2.5, 3.0]


def with_spectrum(eigenvalues: Sequence[float], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    rotation: Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return rotation @ torch.tensor(eigenvalues, dtype=torch.float64).diag() @ rotation.T


def quadratic(matrix: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Its Hessian is the matrix, whatever the point; the linear term must not matter."""
    x = torch.cat([tensor.flatten() for tensor in tensors])
    return x @ matrix.to(x) @ x / 2 + 7 * x.sum()


def two_tables(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.ones(2, 3, dtype=dtype), torch.full((4,), 2.0, dtype=dtype)]


def product_of(matrix: Tensor) -> Product:
    return hessian_product(partial(quadratic, matrix), two_tables())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_quadratic_of_two_tables() -> None:
    matrix = with_spectrum(EIGENVALUES)
    dense = dense_hessian(product_of(matrix), 10)
    assert_close(dense, matrix, rtol=0, atol=1e-12)
    assert largest_eigenvalue(dense) == pytest.approx(3.0, abs=1e-12)  # -5 is larger in absolute value


def test_lanczos_finds_the_largest_eigenvalue() -> None:
    product = product_of(with_spectrum(EIGENVALUES))
    assert largest_eigenvalue(lanczos(product, 10, 10, generator())) == pytest.approx(3.0, abs=1e-10)
    values = [largest_eigenvalue(lanczos(product, 10, steps, generator())) for steps in range(1, 9)]
    assert values == sorted(values)
    assert all(value <= 3.0 + 1e-12 for value in values)
    assert values[0] < 2.0


@given(st.lists(st.floats(-10, 10), min_size=10, max_size=10), st.integers(0, 100))
def test_lanczos_with_all_steps_is_the_dense_hessian(eigenvalues: list[float], seed: int) -> None:
    matrix = with_spectrum(eigenvalues, seed)
    found = largest_eigenvalue(lanczos(product_of(matrix), 10, 99, generator()))
    assert found == pytest.approx(max(eigenvalues), abs=1e-7)


def test_lanczos_ends_with_a_complete_subspace() -> None:
    calls = []

    def twice(vector: Tensor) -> Tensor:
        calls.append(vector)
        return 2 * vector

    assert largest_eigenvalue(lanczos(twice, 100, 20, generator())) == pytest.approx(2.0)
    assert len(calls) == 1


def test_lanczos_makes_as_many_products_as_asked_for() -> None:
    calls = []
    diagonal = torch.arange(100, dtype=torch.float64)

    def product(vector: Tensor) -> Tensor:
        calls.append(vector)
        return diagonal * vector

    lanczos(product, 100, 20, generator())
    basis = torch.stack(calls)
    assert_close(basis @ basis.T, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_loss_without_curvature() -> None:
    product = hessian_product(lambda tensors: tensors[0].sum() + tensors[1].sum(), two_tables())
    assert torch.equal(dense_hessian(product, 10), torch.zeros(10, 10, dtype=torch.float64))
    assert largest_eigenvalue(lanczos(product, 10, 5, generator())) == 0.0


def test_a_table_that_the_loss_does_not_depend_on() -> None:
    product = hessian_product(lambda tensors: (tensors[1] ** 2).sum(), two_tables())
    expected = torch.diag(torch.tensor([0.0] * 6 + [2.0] * 4, dtype=torch.float64))
    assert torch.equal(dense_hessian(product, 10), expected)


def test_no_number_where_there_is_none() -> None:
    product = hessian_product(lambda tensors: torch.inf * (tensors[0] ** 2).sum() + tensors[1].sum(), two_tables())
    for matrix in (dense_hessian(product, 10), lanczos(product, 10, 5, generator())):
        assert torch.tensor(largest_eigenvalue(matrix)).isnan()


def test_every_product_is_averaged() -> None:
    matrix = with_spectrum(EIGENVALUES)
    product = hessian_product(partial(quadratic, matrix), two_tables(), lambda tensors: [3 * t for t in tensors])
    assert_close(dense_hessian(product, 10), 3 * matrix, rtol=0, atol=1e-12)


def test_autocast_is_off() -> None:
    matrix = with_spectrum(EIGENVALUES)
    expected = dense_hessian(hessian_product(partial(quadratic, matrix), two_tables(torch.float32)), 10)
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        got = dense_hessian(hessian_product(partial(quadratic, matrix), two_tables(torch.float32)), 10)
    assert torch.equal(got, expected)
    assert_close(expected, matrix, rtol=0, atol=1e-5)


def test_precision_of_matrix_products_is_put_back() -> None:
    backend = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's annotations lag behind
    before = backend.fp32_precision
    inside = []

    def loss(tensors: Sequence[Tensor]) -> Tensor:
        inside.append(backend.fp32_precision)
        return (tensors[0] ** 2).sum()

    try:
        backend.fp32_precision = "bf16"
        hessian_product(loss, two_tables())
        assert inside == ["ieee"]
        assert backend.fp32_precision == "bf16"
    finally:
        backend.fp32_precision = before


def test_inputs_are_left_alone() -> None:
    tables = [table.requires_grad_() for table in two_tables()]
    dense_hessian(hessian_product(partial(quadratic, with_spectrum(EIGENVALUES)), tables), 10)
    assert all(table.grad is None and table.is_leaf for table in tables)
    assert torch.equal(tables[0], torch.ones(2, 3, dtype=torch.float64))


def test_a_supernet_against_torch() -> None:
    """Of both kinds of cells, with BatchNorm in training mode."""
    module = DartsModule("darts?nodes=1", scale={"channels": 4, "layers": 3, "classes": 4}).double()
    batch = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=generator()), torch.arange(4)
    alphas = list(module.alphas.values())

    def loss(*tables: Tensor) -> Tensor:
        return module.architecture_loss(tables, batch)

    hessian: Any = torch.autograd.functional.hessian  # torch has no types for it
    blocks = hessian(loss, tuple(alpha.detach() for alpha in alphas))
    expected = torch.cat([torch.cat([block.reshape(16, 16) for block in row], 1) for row in blocks])
    product = hessian_product(partial(module.architecture_loss, batch=batch), alphas)
    dense = dense_hessian(product, 32)
    assert_close(dense, expected, rtol=0, atol=1e-8)
    assert expected.abs().max() > 1e-3
    largest = largest_eigenvalue(dense)
    assert largest_eigenvalue(lanczos(product, 32, 32, generator())) == pytest.approx(largest, abs=1e-10)
