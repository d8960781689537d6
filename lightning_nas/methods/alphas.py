"""What gradient-based searches have in common: architecture parameters, and checks of a search's course."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.run_folder import is_trial
from lightning_nas.seeding import make_generator
from lightning_nas.spaces.decision_group import DecisionGroup


def initial_alphas(groups: Iterable[DecisionGroup], seed: int) -> dict[str, nn.Parameter]:
    """Return a table ``[rows, candidates]`` for every group, close to zero."""
    generator = make_generator(seed, "alphas")
    tables = {}
    for group in groups:
        initial = 1e-3 * torch.randn(len(group.rows), len(group.candidates), generator=generator)
        # no gradient is accumulated: the alpha step asks for it, and weight steps must not pay for it
        tables[group.name] = nn.Parameter(initial, requires_grad=False)
    return tables


def check_warmup(trainer: pl.Trainer, epochs: int) -> None:
    """Raise a MisconfigurationException when a search ends before its alphas have moved."""
    if 0 < (trainer.max_epochs or 0) <= epochs and not is_trial(trainer):
        raise MisconfigurationException(
            f"Expected more epochs than the {epochs} `warmup_epochs`, in which alphas do not move, but got "
            f"Trainer(max_epochs={trainer.max_epochs})"
        )


def check_finite(alphas: Iterable[Tensor], epoch: int, advice: str) -> None:
    """Raise a FloatingPointError when a search has diverged.

    Args:
        alphas: The tables.
        epoch: The epoch, for the message.
        advice: What to do besides lowering the learning rate.
    """
    if not all(torch.isfinite(table).all() for table in alphas):
        raise FloatingPointError(
            f"Expected finite alphas but got NaN or infinity in epoch {epoch}: the search has diverged; start again "
            f"with a lower learning rate, or {advice}"
        )


def check_reached(loss: Tensor, alphas: Mapping[str, Tensor], name: str) -> None:
    """Raise a MisconfigurationException when a loss does not depend on a table at all.

    A gradient of exactly zero is no sign of that: it is what comes out behind weights that start at zero.

    Args:
        loss: The loss, with its graph.
        alphas: Leaf tensors by the name of their choice.
        name: What messages call the module.
    """
    nodes, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            todo += [before for before, _ in node.next_functions]
    reached = {key: torch.autograd.graph.get_gradient_edge(table).node in nodes for key, table in alphas.items()}
    if missing := [key for key, table in alphas.items() if table.shape[1] > 1 and not reached[key]]:
        raise MisconfigurationException(
            f"Expected the loss of {name} to depend on all choices but it does not on {missing}: they are not called "
            "in the computation of the loss, or inside activation checkpointing with use_reentrant=True "
            "(use_reentrant=False works)"
        )
