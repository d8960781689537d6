"""What a node of the mixed recurrent cell of DARTS computes, and its gradient.

A node mixes all activations ``f`` on all earlier states ``j``:

    s = sum_jf p_jf * (s_j + sigmoid(c_j) * (f(h_j) - s_j)),    [c_j, h_j] = (mask * s_j) W

With ``P_j = sum_f p_jf`` that is ``sum_j P_j s_j + sigmoid(c_j) * (sum_f p_jf f(h_j) - P_j s_j)``: one matrix product,
and for every activation one pass over all edges. An edge is what a node makes of one earlier state.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class EdgeWeights(NamedTuple):
    """The weights of a node's edges, each ``[edges, 1, 1]``; ``total`` is their sum."""

    tanh: Tensor
    relu: Tensor
    sigmoid: Tensor
    identity: Tensor
    total: Tensor


def _activations(products: Tensor) -> tuple[Tensor, ...]:
    """Return gate, tanh, relu, sigmoid and identity of products ``[edges, texts, 2 * hidden]``."""
    gate, sigmoid = products.sigmoid().chunk(2, -1)
    new = products[..., products.shape[-1] // 2 :]
    tanh = (2 * new).sigmoid_().mul_(2).sub_(1)  # on a CPU several times as fast as torch.tanh
    return gate, tanh, new.relu(), sigmoid, new


def _change(weights: EdgeWeights, states: Tensor, activations: Sequence[Tensor]) -> Tensor:
    """Return what the gates let in: ``sum_f p_f f(h) - P s``, for every edge."""
    _, tanh, relu, sigmoid, new = activations
    change = (weights.tanh * tanh).addcmul_(weights.relu, relu).addcmul_(weights.sigmoid, sigmoid)
    return change.addcmul_(weights.identity, new).addcmul_(weights.total, states, value=-1)


def mix(weights: EdgeWeights, states: Tensor, products: Tensor) -> Tensor:
    """Return a node's state ``[texts, hidden]``, made of those ``[edges, texts, hidden]`` that it reads."""
    activations = _activations(products.view(*states.shape[:2], -1))
    change = _change(weights, states, activations).mul_(activations[0])
    return change.addcmul_(weights.total, states).sum(0)


def mix_back(
    gradient: Tensor,
    weights: EdgeWeights,
    states: Tensor,
    products: Tensor,
    of_states: Tensor,
    sums: EdgeWeights | None,
) -> Tensor:
    """Return the gradient of a node's products, and add those of the states it reads and of its weights."""
    activations = _activations(products.view(*states.shape[:2], -1))
    gate, tanh, relu, sigmoid, _ = activations
    through = gradient * gate
    kept = gradient - through
    of_states.addcmul_(kept, weights.total)
    if sums is not None:
        for total, activation in zip(sums, activations[1:], strict=False):
            total.addcmul_(through, activation)
        sums.total.addcmul_(kept, states)
    result = torch.empty_like(products)
    of_gate, of_new = result.view(*states.shape[:2], -1).chunk(2, -1)
    torch.mul(_change(weights, states, activations).mul_(1 - gate), through, out=of_gate)
    slope = (tanh * tanh).neg_().add_(1).mul_(weights.tanh)
    slope.addcmul_(weights.relu, relu.sign_()).addcmul_(weights.sigmoid, sigmoid.mul(1 - sigmoid))
    torch.mul(slope.add_(weights.identity), through, out=of_new)
    return result
