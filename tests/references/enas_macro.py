"""The networks of ENAS's macro space, restated slowly and plainly from the paper and its authors' code.

Plain functions on a state dict. Every output is computed when it is asked for, at the size at which it is asked for;
nothing is shared with ``lightning_nas.spaces``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as f

NAMES = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
State = Mapping[str, Tensor]
Norm = Callable[[Tensor, str], Tensor]


def supernet(state: State, form: str, operations: Tensor, skips: Tensor, images: Tensor) -> Tensor:
    """The logits of a search network under a mixture: ``operations [layers, 6]``, ``skips [rows, 2]`` (off, on)."""

    def norm(x: Tensor, name: str) -> Tensor:
        return batch_norm(state, x, name)

    def layer(k: int, read: Callable[[int], Tensor]) -> Tensor:
        off, on = skips[k * (k - 1) // 2 : k * (k + 1) // 2].T

        def mixed(x: Tensor) -> Tensor:
            ways = [search_operation(state, norm, f"layers.{k}.operation.{name}", name, x) for name in NAMES]
            return sum_of(operations[k, i] * way for i, way in enumerate(ways))

        if k == 0:
            return mixed(read(0))
        if form == "official":
            return norm(mixed(read(k)) + sum_of(on[j] * read(j) for j in range(k)), f"layers.{k}.norm")
        kernels = [state[f"layers.{k}.skips.{j}.on.weight"] for j in range(k)]
        convolved = sum_of(on[j] * f.conv2d(read(j + 1), kernels[j]) for j in range(k))
        nothing = torch.stack(list(off)).prod()
        return mixed(norm(convolved + nothing * read(0), f"layers.{k}.norm"))

    return network(state, norm, layer, len(operations), images)


def final(
    state: State, form: str, rows: Sequence[Sequence[int]], images: Tensor, *, training: bool, separable: bool
) -> Tensor:
    """The logits of a final network; a row is the number of the operation and the skips of a layer."""

    def norm(x: Tensor, name: str) -> Tensor:
        return batch_norm(state, x, name) if training else running_norm(state, x, name)

    def operation(k: int, x: Tensor) -> Tensor:
        name, place = NAMES[rows[k][0]], f"layers.{k}.operation"
        x = norm(f.conv2d(relu(x), state[f"{place}.1.weight"]), f"{place}.2")
        if "pool" in name:
            return pool(name, relu(x))
        return convolve(state, norm, place, 4, name if separable else name.removeprefix("sep_"), relu(x))

    def layer(k: int, read: Callable[[int], Tensor]) -> Tensor:
        on = [j for j, bit in enumerate(rows[k][1:]) if bit]

        def joined(parts: list[Tensor]) -> Tensor:
            place = f"layers.{k}.skip"
            return norm(f.conv2d(relu(torch.cat(parts, 1)), state[f"{place}.1.weight"]), f"{place}.2")

        if form == "official":
            output = operation(k, read(k))
            return joined([*map(read, on), output]) if k else output
        return operation(k, joined([read(j + 1) for j in on]) if on else read(0))

    return network(state, norm, layer, len(rows), images)


def network(
    state: State,
    norm: Norm,
    layer: Callable[[int, Callable[[int], Tensor]], Tensor],
    layers: int,
    images: Tensor,
) -> Tensor:
    """Stem, layers, reductions, head. Output 0 is the stem, output ``k + 1`` is that of layer ``k``."""
    third = layers // 3
    stage_of = [0, *((k >= third) + (k >= 2 * third) for k in range(layers))]  # where an output arises
    known: dict[tuple[int, int], Tensor] = {}

    def read(number: int, stage: int) -> Tensor:
        if (number, stage) not in known:
            known[number, stage] = compute(number, stage)
        return known[number, stage]

    def compute(number: int, stage: int) -> Tensor:
        if stage > stage_of[number]:
            return halve(state, norm, stage - 1, number, read(number, stage - 1))
        if number == 0:
            return norm(f.conv2d(images, state["stem.0.weight"], padding=1), "stem.1")
        return layer(number - 1, lambda other: read(other, stage))

    return read(layers, 2).mean((2, 3)) @ state["classifier.3.weight"].T


def halve(state: State, norm: Norm, boundary: int, number: int, x: Tensor) -> Tensor:
    """Two 1x1 convolutions: of every second pixel, and of those one further to the right and below."""
    places = [f"reductions.{boundary}.{kind}.{number}" for kind in ("on", "always")]
    [place] = [place for place in places if f"{place}.conv_1.weight" in state]
    shifted = f.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    parts = [f.conv2d(y[:, :, ::2, ::2], state[f"{place}.conv_{i + 1}.weight"]) for i, y in enumerate((x, shifted))]
    return norm(torch.cat(parts, 1), f"{place}.bn")


def search_operation(state: State, norm: Norm, place: str, name: str, x: Tensor) -> Tensor:
    x = relu(norm(f.conv2d(x, state[f"{place}.0.weight"]), f"{place}.1"))
    return pool(name, x) if "pool" in name else relu(convolve(state, norm, place, 3, name, x))


def convolve(state: State, norm: Norm, place: str, first: int, name: str, x: Tensor) -> Tensor:
    kernel = state[f"{place}.{first}.weight"]
    if not name.startswith("sep"):
        return norm(f.conv2d(x, kernel, padding=kernel.shape[-1] // 2), f"{place}.{first + 1}")
    each = [f.conv2d(x[:, c : c + 1], kernel[c : c + 1], padding=kernel.shape[-1] // 2) for c in range(x.shape[1])]
    return norm(f.conv2d(torch.cat(each, 1), state[f"{place}.{first + 1}.weight"]), f"{place}.{first + 2}")


def pool(name: str, x: Tensor) -> Tensor:
    """The mean or the maximum of the up to nine pixels that are there."""
    height, width = x.shape[2:]
    output = torch.empty_like(x)
    for i in range(height):
        for j in range(width):
            window = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            output[:, :, i, j] = window.mean((2, 3)) if name.startswith("avg") else window.amax((2, 3))
    return output


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def batch_norm(state: State, x: Tensor, name: str) -> Tensor:
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    return scaled(state, x, name, mean, variance)


def running_norm(state: State, x: Tensor, name: str) -> Tensor:
    return scaled(state, x, name, state[f"{name}.running_mean"], state[f"{name}.running_var"])


def scaled(state: State, x: Tensor, name: str, mean: Tensor, variance: Tensor) -> Tensor:
    normed = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return normed * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum(0)
