"""A plain restatement of Petridish networks: functions of a state dict, for one batch, without modules.

Written from the description of the search space (arXiv 1905.13360): stem, three stages, cells that add up a separable
convolution and the identity of the last output, nodes that are added times a gate, weak learners of which only the
gradient is added. In training, running statistics in the state move, and nothing else does.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]
Nodes = Sequence[Sequence[tuple[int, str]]]
Learners = Mapping[int, Sequence[tuple[int, str]]]  # by the number of their alphas


def normalise(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        seen = {"mean": mean.detach(), "var": x.detach().var((0, 2, 3), unbiased=True)}
        for statistic, value in seen.items():
            state[f"{name}.running_{statistic}"].mul_(0.9).add_(0.1 * value)
    else:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
    return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]


def halve(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    """Two grids of pixels, the second a pixel further down and right, each with its own 1x1 convolution."""
    x = functional.pad(x.clamp(min=0), (0, x.shape[3] % 2, 0, x.shape[2] % 2))
    grids = {"conv_1": x[:, :, ::2, ::2], "conv_2": x[:, :, 1::2, 1::2]}
    mixed = [torch.einsum("nchw,oc->nohw", g, state[f"{name}.{k}.weight"][:, :, 0, 0]) for k, g in grids.items()]
    return normalise(torch.cat(mixed, 1), state, f"{name}.bn", training)


def project(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    mixed = torch.einsum("nchw,oc->nohw", x.clamp(min=0), state[f"{name}.1.weight"][:, :, 0, 0])
    return normalise(mixed, state, f"{name}.2", training)


def separable(x: Tensor, state: State, name: str, first: int, stride: int, dilation: int, training: bool) -> Tensor:
    depthwise, pointwise = state[f"{name}.{first + 1}.weight"], state[f"{name}.{first + 2}.weight"]
    padding = dilation * (depthwise.shape[-1] // 2)
    x = functional.conv2d(x.clamp(min=0), depthwise, None, stride, padding, dilation, groups=x.shape[1])
    x = torch.einsum("nchw,oc->nohw", x, pointwise[:, :, 0, 0])
    return normalise(x, state, f"{name}.{first + 3}", training)


def apply(operation: str, x: Tensor, state: State, name: str, stride: int, training: bool) -> Tensor:
    if operation == "identity":
        return x if stride == 1 else halve(x, state, name, training)
    if operation.startswith("sep_conv"):
        x = separable(x, state, name, 0, stride, 1, training)
        return separable(x, state, name, 4, 1, 1, training)
    if operation.startswith("dil_conv"):
        if stride == 2:
            return separable(halve(x, state, f"{name}.0", training), state, f"{name}.1", 0, 1, 2, training)
        return separable(x, state, name, 0, 1, 2, training)
    if operation == "max_pool_3x3":
        return functional.max_pool2d(x, 3, stride, 1)
    ones = torch.ones_like(x)
    total, count = (9 * functional.avg_pool2d(functional.pad(t, (1, 1, 1, 1)), 3, stride) for t in (x, ones))
    return total / count


def run_cell(
    pp: Tensor,
    p: Tensor,
    state: State,
    name: str,
    nodes: Nodes,
    learners: Learners,
    channels: int,
    reduction: bool,
    training: bool,
) -> Tensor:
    def prepare(x: Tensor, source: int, prefix: str) -> Tensor:
        if x.shape[2] > p.shape[2]:
            return halve(x, state, f"{prefix}.preprocess.{source}", training)
        return x if x.shape[1] == channels else project(x, state, f"{prefix}.preprocess.{source}", training)

    states = {1: prepare(p, 1, name)}
    if any(source == 0 for terms in nodes for source, _ in terms):
        states[0] = prepare(pp, 0, name)

    def transform(prefix: str, x: Tensor, source: int, operation: str) -> Tensor:
        stride = 2 if reduction and source in (0, 1) else 1
        return apply(operation, x, state, f"{prefix}.operations.{source}_{operation}", stride, training)

    def operate(prefix: str, source: int, operation: str) -> Tensor:
        return transform(prefix, states[source], source, operation)

    def learn(number: int, terms: Sequence[tuple[int, str]]) -> Tensor:
        prefix, cut = f"{name}.learners.{number}", {source: x.detach() for source, x in states.items()}
        if 0 not in cut:
            cut[0] = prepare(pp.detach(), 0, prefix)
        outputs = [transform(prefix, cut[source], source, operation) for source, operation in terms]
        return torch.einsum("k,knchw->nchw", state[f"alphas.{number}"], torch.stack(outputs))

    output = operate(f"{name}.seed", 1, "sep_conv_3x3") + operate(f"{name}.seed", 1, "identity")
    for number, terms in enumerate(nodes, 2):
        node = f"{name}.nodes.{number}"
        joined = torch.cat([operate(f"{node}.paths", source, operation) for source, operation in terms], 1)
        states[number] = project(joined, state, f"{node}.project", training)
        output = output + state[f"{node}.gate"] * states[number]
    for k, terms in learners.items() if training else ():
        learned = learn(k, terms)
        output = output + (learned - learned.detach())
    return output


def run(
    images: Tensor,
    state: State,
    cells: Sequence[tuple[bool, Nodes]],
    filters: int,
    training: bool,
    learners: Sequence[Learners] = (),
) -> Tensor:
    """Return the logits.

    ``cells`` has for every cell of the network whether it reduces, and its nodes; ``learners`` those of every cell.
    """
    x = functional.conv2d(images, state["stem.0.weight"], None, 1, 1)
    pp = p = normalise(x, state, "stem.1", training)
    channels = filters
    for k, (reduction, nodes) in enumerate(cells):
        channels *= 1 + reduction
        attached = learners[k] if learners else {}
        pp, p = p, run_cell(pp, p, state, f"cells.{k}", nodes, attached, channels, reduction, training)
    x = normalise(p, state, "head.0", training).clamp(min=0)
    x = torch.einsum("nchw,oc->nohw", x, state["head.2.weight"][:, :, 0, 0])
    x = normalise(x, state, "head.3", training).clamp(min=0).mean((2, 3))
    return x @ state["classifier.weight"].T + state["classifier.bias"]
