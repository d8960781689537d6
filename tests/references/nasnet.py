"""Networks of NASNet, AmoebaNet and PNAS cells, restated slowly and plainly: functions on a state dict.

From the papers and ``nasnet_utils.py``, ``nasnet.py`` and ``pnasnet.py`` of slim (github.com/tensorflow/models), in
their terms: what a layer must do is found out from the tensors as they come. A cell is a list of hidden states and a
list of operations, two of each for every combination; here 0 is the output of the cell before last and 1 of the last.
Dropout and drop-path are left out, and so are layers that a state dict does not have because nothing reads them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Cell(NamedTuple):
    hidden: Sequence[int]
    operations: Sequence[str]
    outputs: Sequence[int]


class Weights(NamedTuple):
    """A state dict, or a part of it, and how to normalise."""

    state: Mapping[str, Tensor]
    running: bool
    epsilon: float

    def under(self, name: str) -> "Weights":
        part = {key.removeprefix(f"{name}."): value for key, value in self.state.items() if key.startswith(f"{name}.")}
        return self._replace(state=part)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        part = self.under(name).state
        if self.running:
            mean, variance = part["running_mean"], part["running_var"]
        else:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        shape = (1, -1, 1, 1)
        normed = (x - mean.reshape(shape)) / (variance.reshape(shape) + self.epsilon).sqrt()
        return normed * part["weight"].reshape(shape) + part["bias"].reshape(shape)

    def pointwise(self, name: str, x: Tensor) -> Tensor:
        return torch.einsum("oi,nihw->nohw", self.state[f"{name}.weight"][:, :, 0, 0], x)


def pad(x: Tensor, height: int, width: int, value: float = 0.0) -> Tensor:
    return functional.pad(x, (width // 2, width // 2, height // 2, height // 2), value=value)


def windows(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    return pad(x, kernel, kernel, value).unfold(2, kernel, stride).unfold(3, kernel, stride).flatten(4)


def full(weight: Tensor, x: Tensor, stride: tuple[int, int]) -> Tensor:
    """Convolve with zero padding."""
    height, width = weight.shape[2:]
    patches = pad(x, height, width).unfold(2, height, stride[0]).unfold(3, width, stride[1])
    return torch.einsum("oiab,nihwab->nohw", weight, patches)


def depthwise(weight: Tensor, x: Tensor, stride: int, dilation: int) -> Tensor:
    reach = dilation * (weight.shape[-1] // 2)
    padded, total = pad(x, 2 * reach, 2 * reach), torch.zeros(())
    for row in range(weight.shape[-1]):
        for column in range(weight.shape[-1]):
            down, right = row * dilation, column * dilation
            seen = padded[:, :, down : down + x.shape[2] : stride, right : right + x.shape[3] : stride]
            total = total + weight[:, 0, row, column].reshape(1, -1, 1, 1) * seen
    return total


def factorized_reduction(w: Weights, x: Tensor) -> Tensor:
    shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
    paths = [w.pointwise("conv_1", x[:, :, ::2, ::2]), w.pointwise("conv_2", shifted[:, :, ::2, ::2])]
    return w.batch_norm("bn", torch.cat(paths, 1))


def relu_conv_bn(w: Weights, x: Tensor, stride: int = 1) -> Tensor:
    return w.batch_norm("2", w.pointwise("1", x.relu()[:, :, ::stride, ::stride]))


def operation(w: Weights, name: str, x: Tensor, stride: int, filters: int) -> Tensor:
    kind, _, size = name.rpartition("_")
    if name == "identity":
        return relu_conv_bn(w, x, stride) if stride > 1 or x.shape[1] != filters else x
    if kind in ("sep_conv", "dil_conv"):
        for layer, step in ((0, stride), (4, 1))[: 2 if kind == "sep_conv" else 1]:
            x = depthwise(w.state[f"{layer + 1}.weight"], x.relu(), step, 2 if kind == "dil_conv" else 1)
            x = w.batch_norm(f"{layer + 3}", w.pointwise(f"{layer + 2}", x))
        return x
    if kind == "conv":
        return w.batch_norm("2", full(w.state["1.weight"], x.relu(), (stride, stride)))
    if kind in ("conv_1x7", "conv_1x3"):
        x = full(w.state["1.weight"], x.relu(), (1, stride))
        return w.batch_norm("3", full(w.state["2.weight"], x, (stride, 1)))
    if kind == "bottleneck_1x7":
        for layer, strides in ((0, (1, 1)), (3, (1, stride)), (6, (stride, 1)), (9, (1, 1))):
            x = w.batch_norm(f"{layer + 2}", full(w.state[f"{layer + 1}.weight"], x.relu(), strides))
        return x
    kernel, unmatched = int(size[0]), x.shape[1] != filters
    if kind == "max_pool":
        x = windows(x, kernel, stride, -torch.inf).amax(-1)
    else:
        x = windows(x, kernel, stride, 0.0).sum(-1) / windows(torch.ones_like(x), kernel, stride, 0.0).sum(-1)
    return w.batch_norm("2", w.pointwise("1", x)) if unmatched else x


def run_cell(w: Weights, cell: Cell, previous: Tensor | None, last: Tensor, filters: int, stride: int) -> Tensor:
    """Return what a cell puts out; of one that the network does not have only the shape is right."""
    if not w.state:
        return torch.zeros_like(last[:, :1, ::stride, ::stride]).repeat(1, filters * len(cell.outputs), 1, 1)
    if previous is None:
        previous = last
    elif w.under("preprocess0").state:
        small = previous.shape[2] == last.shape[2]
        v = w.under("preprocess0")
        previous = relu_conv_bn(v, previous) if small else factorized_reduction(v, previous.relu())
    states = [previous, relu_conv_bn(w.under("preprocess1"), last) if w.under("preprocess1").state else last]
    for k in range(0, len(cell.hidden), 2):
        terms = []
        for side in (k, k + 1):
            index = cell.hidden[side]
            step = stride if index < 2 else 1
            terms.append(operation(w.under(f"edges.{side}"), cell.operations[side], states[index], step, filters))
        states.append(terms[0] + terms[1])
    combined = []
    for index in cell.outputs:
        state, v = states[index], w.under(f"alignments.{index}")
        if state.shape[2] != states[-1].shape[2]:
            state = factorized_reduction(v, state)
        elif state.shape[1] != filters:
            state = v.batch_norm("1", v.pointwise("0", state))
        combined.append(state)
    return torch.cat(combined, 1)


def schedule(n: int, filters: int, pnas: bool, imagenet: bool) -> list[tuple[bool, int, int]]:
    """Return for every cell whether it is a reduction cell, its filters and its stride."""
    cells = [(True, int(filters / 4), 2), (True, int(filters / 2), 2)] if imagenet else []
    reductions = (n, 2 * n)
    scaling = 1
    for number in range(3 * n):
        if number in reductions:
            scaling *= 2
            cells.append((True, filters * scaling, 2))
            if pnas:
                continue
        cells.append((False, filters * scaling, 1))
    return cells


def network(
    weights: Weights, normal: Cell, reduction: Cell, images: Tensor, n: int, filters: int, *, pnas: bool, imagenet: bool
) -> Tensor:
    """Return the logits."""
    stem = weights.state["stem.0.weight"]
    if imagenet:
        x = torch.einsum("oiab,nihwab->nohw", stem, images.unfold(2, 3, 2).unfold(3, 3, 2))
    else:
        x = full(stem, images, (1, 1))
    previous, last = None, weights.batch_norm("stem.1", x)
    for number, (reduces, width, stride) in enumerate(schedule(n, filters, pnas, imagenet)):
        cell = reduction if reduces else normal
        previous, last = last, run_cell(weights.under(f"cells.{number}"), cell, previous, last, width, stride)
    classifier = weights.under("classifier").state
    return last.relu().mean((2, 3)) @ classifier["weight"].T + classifier["bias"]
