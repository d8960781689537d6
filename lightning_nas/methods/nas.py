"""Neural architecture search with reinforcement learning (Zoph & Le 2017, arXiv 1611.01578)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from lightning_nas.methods.base import default_task
from lightning_nas.methods.child_search import ChildSearchModule
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.registry import get_space
from lightning_nas.strategies.reinforce import ReinforceStrategy
from lightning_nas.tasks.base import Task


class NasModule(ChildSearchModule):
    """Trains what a controller draws; the controller learns from the scores (``ChildSearchModule`` says how).

    The defaults are the paper's for CIFAR-10: 12,800 children of 50 epochs; the score is the best validation accuracy
    of the last five, the reward its third power. Children learn with a rate of 0.1, divided by 10 at a half and at
    three quarters of their epochs. Where the objective is a perplexity, the score is the negative perplexity and the
    reward is the paper's for language, 80 over the perplexity's square.

    Args:
        space: A search space, or the name of one.
        task: What is learned; by default as for all searches.
        samples_per_update: Children whose gradients make one step of the controller.
        learning_rate: The controller's.
        reward_power: The reward is the score to this power; by default 3. Of a perplexity it is ``reward_constant``
            over the perplexity to this power, by default 2. Of other objectives of which less is better (a loss) it is
            the negative objective to this power, by default 1.
        reward_constant: Of perplexities only; by default 80.
        growth: Other spaces after so many children: ``{1600: "nas_conv?layers=8", ...}``.
        epochs_per_child: The Trainer's epochs for each child.
        score_window: The score is the best objective of so many last epochs.
        seed: Seed of the controller, the architectures and all training.
        options: More arguments of ``ChildSearchModule``.

    Example:
        >>> module = NasModule("nas_conv?layers=2", samples_per_update=4, epochs_per_child=1)
        >>> module.strategy.samples_per_update
        4
    """

    def __init__(
        self,
        space: SearchSpace | str = "nas_conv",
        task: Task | None = None,
        *,
        samples_per_update: int = 8,
        learning_rate: float = 6e-4,
        reward_power: float | None = None,
        reward_constant: float | None = None,
        growth: Mapping[int, str] | None = None,
        epochs_per_child: int = 50,
        score_window: int = 5,
        seed: int = 0,
        **options: Any,
    ) -> None:
        space = get_space(space) if isinstance(space, str) else space
        task = task or default_task(space, options.get("scale") or {})
        power, constant, failed_reward = _reward(task)
        if reward_constant is not None and constant is None:
            raise ValueError(
                f"Expected `reward_constant` only where the objective is a perplexity but got {reward_constant} for "
                f"{task.objective[0]!r}; leave it out"
            )
        strategy = ReinforceStrategy(
            space,
            samples_per_update=samples_per_update,
            learning_rate=learning_rate,
            reward_power=power if reward_power is None else reward_power,
            reward_constant=constant if reward_constant is None else reward_constant,
            failed_reward=failed_reward,
            growth=growth,
            seed=seed,
        )
        # not setdefault: a config gives None for what it leaves out
        options["optimizer"] = options.get("optimizer") or partial(
            SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
        )
        options["scheduler"] = options.get("scheduler") or partial(_two_steps, epochs=epochs_per_child)
        window = min(score_window, epochs_per_child)
        super().__init__(strategy, task, epochs_per_child=epochs_per_child, score_window=window, seed=seed, **options)


def _reward(task: Task) -> tuple[float, float | None, float | None]:
    """Return power, constant and the reward of a failed child; where rewards are negative, 0 would be the best."""
    name, mode = task.objective
    if name.endswith("perplexity"):
        return 2.0, 80.0, 0.0
    return (3.0, None, 0.0) if mode == "max" else (1.0, None, None)


def _two_steps(optimizer: Optimizer, epochs: int) -> MultiStepLR:
    return MultiStepLR(optimizer, sorted({epochs // 2, 3 * epochs // 4}), gamma=0.1)
