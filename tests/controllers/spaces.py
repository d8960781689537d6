"""Spaces that are lists of decisions and nothing else, and all architectures of small ones."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, DecisionKind
from lightning_nas.spaces import CellGraph, DecisionGroup, Mixture, SearchSpace

MICRO_OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect")
MACRO_OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
ACTIVATIONS = ("tanh", "relu", "identity", "sigmoid")


class ListSpace(SearchSpace):
    """Any decisions; it builds nothing."""

    def __init__(self, decisions: list[Decision], distinct: tuple[tuple[str, ...], ...] = ()) -> None:
        self._decisions = tuple(decisions)
        self._distinct = distinct

    @property
    def name(self) -> str:
        return "list"

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self._decisions

    @property
    def distinct(self) -> tuple[tuple[str, ...], ...]:
        return self._distinct

    @property
    def groups(self) -> tuple[DecisionGroup, ...]:
        raise NotImplementedError

    def build(self, *_: Any, **__: Any) -> nn.Module:
        raise NotImplementedError

    def supernet(self, **_: Any) -> nn.Module:
        raise NotImplementedError

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        raise NotImplementedError

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        raise NotImplementedError

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        raise NotImplementedError


def operation(name: str, choices: tuple[str, ...]) -> Decision:
    return Decision(name, choices, "operation")


def inputs(name: str, count: int) -> Decision:
    return Decision(name, tuple(range(count)), "input")


def flag(name: str) -> Decision:
    return Decision(name, (False, True), "flag")


def number(name: str, *choices: int, kind: DecisionKind = "number") -> Decision:
    return Decision(name, choices, kind)


def micro(nodes: int = 5, operations: tuple[str, ...] = MICRO_OPERATIONS) -> ListSpace:
    return ListSpace(
        [
            decision
            for cell in ("normal", "reduce")
            for i in range(2, nodes + 2)
            for decision in (
                *(inputs(f"{cell}/node{i}/input{k}", i) for k in range(2)),
                *(operation(f"{cell}/node{i}/operation{k}", operations) for k in range(2)),
            )
        ]
    )


def macro(layers: int = 12, operations: tuple[str, ...] = MACRO_OPERATIONS) -> ListSpace:
    return ListSpace(
        [
            decision
            for k in range(layers)
            for decision in (
                operation(f"layer{k}/operation", operations),
                *(flag(f"layer{k}/skip{j}") for j in range(k)),
            )
        ]
    )


def recurrent(nodes: int = 12, functions: tuple[str, ...] = ACTIVATIONS) -> ListSpace:
    return ListSpace(
        [
            decision
            for i in range(nodes)
            for decision in (
                *([inputs(f"node{i}/input", i)] if i else []),
                operation(f"node{i}/operation", functions),
            )
        ]
    )


def layered(layers: int = 3) -> ListSpace:
    """Return filter sizes, numbers of filters and skips, as in "NAS with reinforcement learning"."""
    return ListSpace(
        [
            decision
            for k in range(layers)
            for decision in (
                *(flag(f"layer{k}/skip{j}") for j in range(k)),
                number(f"layer{k}/height", 1, 3),
                number(f"layer{k}/width", 1, 3),
                number(f"layer{k}/filters", 24, 36, 48),
            )
        ]
    )


def every_architecture(space: SearchSpace) -> Tensor:
    """Return the choices of all architectures that keep the groups of distinct decisions distinct."""
    counts = [range(len(decision.choices)) for decision in space.decisions]
    table = torch.tensor(list(product(*counts)))
    column = {decision.name: k for k, decision in enumerate(space.decisions)}
    for group in space.distinct:
        for i, first in enumerate(group):
            for second in group[:i]:
                table = table[table[:, column[first]] != table[:, column[second]]]
    return table
