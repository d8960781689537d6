"""The networks of ENAS's micro space, restated slowly and plainly: functions on a state dict, cell after cell.

From the paper and ``src/cifar10/micro_child.py`` of its authors. A cell is a list of numbers, as in their scripts:
input, operation, input, operation for every node. Dropout and drop-path are left out.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
NAMES = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")


def has(state: State, name: str) -> bool:
    return any(key.startswith(f"{name}.") for key in state)


def batch_norm(state: State, name: str, x: Tensor, running: bool) -> Tensor:
    if running:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    else:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    normed = (x - mean.reshape(shape)) / (variance.reshape(shape) + 1e-5).sqrt()
    return normed * state[f"{name}.weight"].reshape(shape) + state[f"{name}.bias"].reshape(shape)


def pointwise(weight: Tensor, x: Tensor) -> Tensor:
    return torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], x)


def relu_conv_bn(state: State, name: str, x: Tensor, running: bool) -> Tensor:
    return batch_norm(state, f"{name}.2", pointwise(state[f"{name}.1.weight"], x.relu()), running)


def reduction(state: State, name: str, x: Tensor, running: bool) -> Tensor:
    """Factorised: every second pixel, and every second pixel of the image shifted by (1, 1), zeros coming in."""
    shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    one = pointwise(state[f"{name}.conv_1.weight"], x[:, :, ::2, ::2])
    two = pointwise(state[f"{name}.conv_2.weight"], shifted[:, :, ::2, ::2])
    return batch_norm(state, f"{name}.bn", torch.cat([one, two], 1), running)


def windows(x: Tensor, stride: int, padding: float) -> Tensor:
    """Return the nine values under a 3x3 window, ``[N, C, H', W', 9]``."""
    padded = functional.pad(x, (1, 1, 1, 1), value=padding)
    return padded.unfold(2, 3, stride).unfold(3, 3, stride).flatten(4)


def operation(state: State, name: str, kind: int, x: Tensor, stride: int, running: bool) -> Tensor:
    if kind == 4:
        return x if stride == 1 else reduction(state, name, x, running)
    if kind == 3:
        return windows(x, stride, -torch.inf).amax(-1)
    if kind == 2:
        return windows(x, stride, 0.0).sum(-1) / windows(torch.ones_like(x), stride, 0.0).sum(-1)
    for layer, step in ((0, stride), (4, 1)):
        depthwise = state[f"{name}.{layer + 1}.weight"]
        x = functional.conv2d(x.relu(), depthwise, None, step, len(depthwise[0, 0]) // 2, 1, len(depthwise))
        x = batch_norm(state, f"{name}.{layer + 3}", pointwise(state[f"{name}.{layer + 2}.weight"], x), running)
    return x


def loose(arc: Sequence[int]) -> list[int]:
    used = [0] * (len(arc) // 4 + 2)
    for index in arc[::2]:
        used[index] += 1
    return [j for j, count in enumerate(used) if not count]


def calibrate(state: State, name: str, first: Tensor, second: Tensor, channels: int, running: bool) -> list[Tensor]:
    if len(first[0, 0]) != len(second[0, 0]):
        first = reduction(state, f"{name}.calibrate0", first.relu(), running)
    elif len(first[0]) != channels:
        first = relu_conv_bn(state, f"{name}.calibrate0", first, running)
    if len(second[0]) != channels:
        second = relu_conv_bn(state, f"{name}.calibrate1", second, running)
    return [first, second]


def head(state: State, x: Tensor) -> Tensor:
    return x.relu().mean((2, 3)) @ state["classifier.3.weight"].T


def search_network(
    state: State, images: Tensor, arcs: Mapping[str, Sequence[int]], channels: int, layers: int, strided: bool
) -> Tensor:
    """Return the logits of one path."""
    stem = functional.conv2d(images, state["stem.0.weight"], padding=1)
    before_last = last = batch_norm(state, "stem.1", stem, False)
    for index in range(layers + 2):
        reduces, name = index in (layers // 3, 2 * (layers // 3) + 1), f"cells.{index}"
        arc = arcs["reduce" if reduces else "normal"]
        if reduces:
            channels *= 2
        if reduces and not strided:
            before_last, last = last, reduction(state, f"{name}.halve", last, False)
        states = calibrate(state, name, before_last, last, channels, False)
        for node in range(len(arc) // 4):
            total = torch.zeros(())
            for slot in range(2):
                source, kind = arc[4 * node + 2 * slot], arc[4 * node + 2 * slot + 1]
                stride = 2 if reduces and strided and source < 2 else 1
                place = f"{name}.slots.{2 * node + slot}.{source}/{NAMES[kind]}"
                total = total + operation(state, place, kind, states[source], stride, False)
            states.append(total)
        total = torch.zeros(())
        for j in loose(arc):
            end = states[j]
            if reduces and strided and j < 2:
                end = reduction(state, f"{name}.halvings.{j}", end, False)
            total = total + pointwise(state[f"{name}.combine.weights.{j}"], end.relu())
        before_last, last = last, batch_norm(state, f"{name}.combine.bn", total, False)
    return head(state, last)


def final_network(
    state: State, images: Tensor, arcs: Mapping[str, Sequence[int]], channels: int, layers: int, running: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the logits, and those of the auxiliary classifier if there is one."""
    stem = functional.conv2d(images, state["stem.0.weight"], padding=1)
    before_last = last = batch_norm(state, "stem.1", stem, running)
    auxiliary = None
    for index in range(layers + 2):
        reduces, name = index in (layers // 3, 2 * (layers // 3) + 1), f"cells.{index}"
        arc = arcs["reduce" if reduces else "normal"]
        if reduces:
            channels *= 2
        states = calibrate(state, name, before_last, last, channels, running)
        states[1] = relu_conv_bn(state, f"{name}.base", states[1], running)
        for node in range(len(arc) // 4):
            total = torch.zeros(())
            for slot in range(2):
                source, kind = arc[4 * node + 2 * slot], arc[4 * node + 2 * slot + 1]
                stride = 2 if reduces and source < 2 else 1
                place = f"{name}.edges.{2 * node + slot}"
                total = total + operation(state, place, kind, states[source], stride, running)
            states.append(total)
        ends = []
        for j in loose(arc):
            ends.append(states[j])
            if len(states[j][0, 0]) > len(states[-1][0, 0]):
                ends[-1] = reduction(state, f"{name}.halvings.{j}", states[j], running)
        before_last, last = last, torch.cat(ends, 1)
        if index == 2 * (layers // 3) + 2 and has(state, "auxiliary"):
            auxiliary = auxiliary_head(state, last, running)
    return head(state, last), auxiliary


def auxiliary_head(state: State, x: Tensor, running: bool) -> Tensor:
    x = pointwise(state["auxiliary.2.weight"], functional.avg_pool2d(x.relu(), 5, 3))
    x = functional.pad(batch_norm(state, "auxiliary.3", x, running).relu(), (0, 1, 0, 1))
    x = batch_norm(state, "auxiliary.7", functional.conv2d(x, state["auxiliary.6.weight"]), running)
    return x.relu().mean((2, 3)) @ state["auxiliary.9.3.weight"].T
