"""The largest eigenvalue of a Hessian, in pure PyTorch.

The Hessian is known by its products with vectors, each of which is one more pass backwards through a gradient. As
vectors have a few hundred entries, what is done with them here is done in float64 on the CPU.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_nas.methods.bilevel import Reduce, gradients
from lightning_nas.methods.precision import full_precision

Product = Callable[[Tensor], Tensor]


def hessian_product(
    loss: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor], reduce: Reduce = list
) -> Product:
    """Return the product of vectors with the Hessian of a loss, all inputs one after the other.

    Args:
        loss: Computes a number from tensors like ``inputs``; it is called once.
        inputs: Where the Hessian is taken; they are not changed.
        reduce: Averages a list of tensors over processes, after every product.
    """
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    device = leaves[0].device.type
    with full_precision(device):
        gradient = _flat(gradients(loss(leaves), leaves, create_graph=True))

    def product(vector: Tensor) -> Tensor:
        with full_precision(device):
            image = torch.zeros_like(gradient)
            if gradient.requires_grad:  # it does not where the loss is linear
                image = _flat(
                    torch.autograd.grad(
                        gradient,
                        leaves,
                        vector.to(gradient),
                        retain_graph=True,
                        allow_unused=True,
                        materialize_grads=True,
                    )
                )
        (mean,) = reduce([image])
        return mean.to("cpu", torch.float64)

    return product


def dense_hessian(product: Product, size: int) -> Tensor:
    """Return the Hessian, row by row, made symmetric."""
    rows = torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])
    return (rows + rows.T) / 2


def lanczos(product: Product, size: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return a small symmetric matrix whose largest eigenvalue is close to the Hessian's.

    It is the Hessian on the subspace that Lanczos iteration finds in some steps, never above it; with as many steps as
    there are inputs nothing is lost. Every vector is made orthogonal to all before.

    Args:
        product: The Hessian.
        size: Its number of rows.
        steps: Number of products; fewer are made where the subspace is complete.
        generator: Draws the first vector.
    """
    vector = torch.randn(size, generator=generator, dtype=torch.float64)
    basis, images = [vector / vector.norm()], []
    for _ in range(min(steps, size)):
        images.append(product(basis[-1]))
        rest = images[-1]
        for _ in range(2):  # once leaves what was rounded
            rest = rest - torch.stack(basis).T @ (torch.stack(basis) @ rest)
        if not rest.norm() > 1e-10 * images[-1].norm():  # also NaN
            break
        basis.append(rest / rest.norm())
    projected = torch.stack(basis[: len(images)]) @ torch.stack(images).T
    return (projected + projected.T) / 2


def largest_eigenvalue(matrix: Tensor) -> float:
    """Return the largest eigenvalue of a symmetric matrix, not the one of largest absolute value; NaN if not finite."""
    if not torch.isfinite(matrix).all():
        return float("nan")
    return float(torch.linalg.eigvalsh(matrix)[-1])


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
