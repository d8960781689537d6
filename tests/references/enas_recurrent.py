"""The recurrent cell of ENAS, restated plainly from the paper: a list of numbers, as in the official scripts."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

FUNCTIONS: list[Callable[[Tensor], Tensor]] = [torch.tanh, torch.relu, lambda x: x, torch.sigmoid]


def cell(
    state: Mapping[str, Tensor], x: Tensor, last: Tensor, tokens: Sequence[int], *, norm: bool, layer: int = 0
) -> Tensor:
    """Return the output ``[texts, hidden]`` of a step, with the tensors of a layer by name."""
    at = f"layers.{layer}"
    read = set()

    def node(before: Tensor, product: Tensor, function: int) -> Tensor:
        gate, new = product.chunk(2, 1)
        change: Tensor = FUNCTIONS[function](new) - before
        return before + gate.sigmoid() * change

    nodes = [node(last, torch.cat([x, last], 1) @ state[f"{at}.weight"], tokens[0])]
    for k in range(1, len(tokens), 2):
        source, function = tokens[k : k + 2]
        read.add(source)
        product = nodes[source] @ state[f"{at}.nodes.{len(nodes)}.{source}"]
        nodes.append(node(nodes[source], product, function))
    mean = torch.stack([value for number, value in enumerate(nodes) if number not in read]).mean(0)
    if not norm:
        return mean
    normed = (mean - mean.mean(0)) / (mean.var(0, unbiased=False) + 1e-5).sqrt()
    return normed * state[f"{at}.norm.weight"] + state[f"{at}.norm.bias"]
