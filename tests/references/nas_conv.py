"""The networks and the controller of Zoph & Le (2017), restated slowly and plainly from sections 3 and 5 of the spec.

Plain functions on a state dict, layers and outputs counted from 1 as in the paper, the image being output 0. Nothing is
shared with ``lightning_nas``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = Mapping[str, Tensor]


@dataclass
class Layer:
    """One line of the tables of the spec, whose bits are those of layers 1, 2, ..."""

    height: int
    width: int
    stride_height: int
    stride_width: int
    filters: int
    bits: list[int]


def inputs_of(layers: Sequence[Layer], i: int) -> list[int]:
    """What layer ``i`` reads: the layers whose bits are on, else the image."""
    return [j + 1 for j, bit in enumerate(layers[i - 1].bits) if bit] or [0]


def loose_ends(layers: Sequence[Layer]) -> list[int]:
    return [i for i in range(1, len(layers) + 1) if not any(layer.bits[i - 1 : i] == [1] for layer in layers)]


def count(layers: Sequence[Layer], convolutions: int = 1, classes: int = 10, in_channels: int = 3) -> int:
    """The number of parameters, by the formula."""
    width = [in_channels, *(convolutions * layer.filters for layer in layers)]
    total = 0
    for i, layer in enumerate(layers, 1):
        read = sum(width[j] for j in inputs_of(layers, i))
        for k in range(convolutions):
            total += layer.height * layer.width * (read + k * layer.filters) * layer.filters + 2 * layer.filters
    return total + (sum(width[i] for i in loose_ends(layers)) + 1) * classes


def network(
    state: State,
    layers: Sequence[Layer],
    images: Tensor,
    *,
    convolutions: int = 1,
    pools: Sequence[int] = (),
    center: bool = False,
    literal: bool = False,
    training: bool = True,
) -> Tensor:
    """The logits; there is a pooling before each of the layers ``pools``.

    An output is pooled when a layer behind a pooling asks for it, as often as there are poolings on the way; with
    ``literal`` only the output of the layer just before a pooling is, once and for all who read it afterwards.
    """

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, variance = x.mean((0, 2, 3)), ((x - x.mean((0, 2, 3), keepdim=True)) ** 2).mean((0, 2, 3))
        x = (x - mean[None, :, None, None]) / (variance[None, :, None, None] + 1e-5).sqrt()
        return x * state[f"{name}.weight"][None, :, None, None] + state[f"{name}.bias"][None, :, None, None]

    def unit(x: Tensor, i: int, k: int) -> Tensor:
        name, layer = f"layers.{i - 1}.{k}", layers[i - 1]
        return norm(same_convolution(x, state[f"{name}.0.weight"], layer), f"{name}.1").clamp(min=0)

    def output(i: int) -> Tensor:
        if i == 0:
            return images
        if i not in known:
            x = read(inputs_of(layers, i), i)
            parts: list[Tensor] = []
            for k in range(convolutions):
                parts.append(unit(torch.cat([x, *parts], 1), i, k))
            known[i] = torch.cat(parts, 1)
        return known[i]

    def read(numbers: Sequence[int], reader: int) -> Tensor:
        maps = []
        for j in numbers:
            x = output(j)
            for pool in pools:
                if j < pool <= reader and (not literal or j == pool - 1):
                    x = max_pool(x)
            maps.append(x)
        return torch.cat(padded(maps, center), 1)

    known: dict[int, Tensor] = {}
    features = read(loose_ends(layers), len(layers) + 1).mean((2, 3))
    return features @ state["classifier.weight"].T + state["classifier.bias"]


def padded(maps: Sequence[Tensor], center: bool) -> list[Tensor]:
    height, width = max(len(x[0, 0]) for x in maps), max(len(x[0, 0, 0]) for x in maps)
    output = []
    for x in maps:
        top, left = ((height - len(x[0, 0])) // 2, (width - len(x[0, 0, 0])) // 2) if center else (0, 0)
        canvas = x.new_zeros(len(x), len(x[0]), height, width)
        canvas[:, :, top : top + len(x[0, 0]), left : left + len(x[0, 0, 0])] = x
        output.append(canvas)
    return output


def same_convolution(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """A sum over the pixels of the filter, each of them reading the map shifted by its distance from the middle."""
    height, width = x.shape[2:]
    top, left = (layer.height - 1) // 2, (layer.width - 1) // 2
    canvas = x.new_zeros(len(x), len(x[0]), height + layer.height - 1, width + layer.width - 1)
    canvas[:, :, top : top + height, left : left + width] = x
    total = torch.zeros(())
    for a in range(layer.height):
        for b in range(layer.width):
            seen = canvas[:, :, a : a + height : layer.stride_height, b : b + width : layer.stride_width]
            total = total + torch.einsum("nchw,oc->nohw", seen, weight[:, :, a, b])
    return total


def max_pool(x: Tensor) -> Tensor:
    return torch.stack([x[:, :, a::2, b::2] for a in (0, 1) for b in (0, 1)]).amax(0)


def controller(
    state: State,
    layers: Sequence[Sequence[int]],
    bits: Sequence[Sequence[int]],
    *,
    sharpness: float,
    anchor_first: bool,
) -> tuple[float, float]:
    """The log-probability and the entropy of one architecture.

    Args:
        state: Weights of a controller of two LSTM layers.
        layers: For each layer the indices of its numbers, in the order of the heads.
        bits: For each layer its skips.
        sharpness: A skip is on with the probability ``sigmoid(sharpness * v^T tanh(W_prev h_j + W_curr h_i))``.
        anchor_first: Whether a layer begins with its anchor.
    """
    g = state["start"][0]
    zero = torch.zeros_like(g)
    c, h = [zero, zero], [zero, zero]
    v = state["attention.v"][:, 0]
    total: list[Tensor] = []
    entropy: list[Tensor] = []
    anchors: list[Tensor] = []

    def step(x: Tensor) -> Tensor:
        for k in range(2):
            i, f, o, new = (torch.cat([x, h[k]]) @ state[f"lstm.{k}.weight"] + state[f"lstm.{k}.biases"].sum(0)).chunk(
                4
            )
            c[k] = torch.sigmoid(f) * c[k] + torch.sigmoid(i) * torch.tanh(new)
            h[k] = torch.sigmoid(o) * torch.tanh(c[k])
            x = h[k]
        return x

    def decide(p: Tensor, chosen: int) -> None:
        total.append(p[chosen].log())
        entropy.append(-(p * p.log()).sum())

    def anchor(x: Tensor, on: Sequence[int]) -> Tensor:
        now = step(x)
        for earlier, bit in zip(anchors, on, strict=True):
            z = v @ torch.tanh(earlier @ state["attention.key"] + now @ state["attention.query"])
            p = torch.sigmoid(sharpness * z)
            decide(torch.stack([1 - p, p]), bit)
        selected = [earlier for earlier, bit in zip(anchors, on, strict=True) if bit]
        anchors.append(now)
        return torch.stack(selected).sum(0) / (1 + len(selected)) if selected else zero if on else g

    def numbers(x: Tensor, chosen: Sequence[int]) -> Tensor:
        for head, index in enumerate(chosen):
            logits = step(x) @ state[f"vocabularies.{head}.head"] + state[f"vocabularies.{head}.bias"]
            decide(logits.exp() / logits.exp().sum(), index)
            x = state[f"vocabularies.{head}.embedding"][index]
        return x

    x = g
    for chosen, on in zip(layers, bits, strict=True):
        x = numbers(anchor(x, on), chosen) if anchor_first else anchor(numbers(x, chosen), on)
    return math.fsum(map(float, total)), math.fsum(map(float, entropy))
