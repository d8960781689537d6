"""DARTS (Liu, Simonyan, Yang 2018, arXiv 1806.09055)."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from lightning_nas._lightning import LightningOptimizer, MisconfigurationException
from lightning_nas.architecture import Architecture
from lightning_nas.bound_budget import BoundBudget
from lightning_nas.budget import CostBudget
from lightning_nas.checks import check_at_least, check_choice, check_positive
from lightning_nas.methods.alphas import check_finite, check_reached, check_warmup, initial_alphas
from lightning_nas.methods.base import SearchModule
from lightning_nas.methods.batch_norm import BatchNorm, batch_norms, batch_statistics, frozen_statistics
from lightning_nas.methods.batches import batch_size, split_streams
from lightning_nas.methods.bilevel import SecondOrder, first_order
from lightning_nas.methods.optimizers import OptimizerCallable
from lightning_nas.methods.processes import mean_over_processes
from lightning_nas.methods.schedules import cosine, scaled_rates
from lightning_nas.seeding import derive_seed, fixed_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.module_supernet import ModuleSupernet
from lightning_nas.tasks.base import Evaluation, Network, Task

Order = Literal["first", "second"]
Hessian = Literal["finite_difference", "exact"]
UpdateOrder = Literal["alpha_first", "w_first"]
BatchNormStatistics = Literal["clean", "reference"]
VirtualStep = Literal["local", "global"]


class DartsModule(SearchModule):
    """Differentiable architecture search: alphas and weights are trained in turns, by gradient descent.

    ``load_from_checkpoint`` needs no arguments but a ``task`` or an optimiser that is not the default, a ``budget``,
    and a space that has no registered name.

    Every training batch is ``{"weights": ..., "architecture": ...}`` (our data modules with ``search=True``, or
    ``SearchSplit``). Alphas step on the architecture batch, then weights on the weights batch. The alphas are
    parameters of this module, ``alphas.<group>``, outside the weight optimiser, its clipping and its decay. The
    defaults are those of the authors' code for CIFAR-10.

    Args:
        space: A search space, or the name of one.
        task: What is learned; by default image classification with the classes that ``scale`` says, or else 10.
        scale: Size of the supernet, passed to ``space.supernet``.
        order: ``"first"`` takes the weights as they are; ``"second"`` looks one weight step ahead, for 4 more passes.
        hessian: How the second order multiplies with the Hessian: ``"finite_difference"`` as the paper, or ``"exact"``.
        update_order: ``"alpha_first"`` as the authors' code and the second version of the paper, or ``"w_first"``.
        bn_stats: ``"clean"``: running statistics of BatchNorm come from weight steps only. ``"reference"``: also from
            the alpha steps, as in the authors' code.
        virtual_step: With several processes in second order, ``"local"`` looks ahead in each process and averages;
            ``"global"`` equals one process with the whole batch, for two more exchanges of all weights.
        clip_virtual: Clip the look-ahead's gradients to ``grad_clip`` too, as the paper does for language.
        budget: What the derived network may cost, for a ``ModuleSpace``; see ``CostBudget``.
        warmup_epochs: Epochs at the start in which only weights are trained.
        grad_clip: Norm to which the weights' gradient is clipped, or ``None``.
        min_learning_rate: Learning rate of the weights at the end of the cosine schedule, if it starts above.
        schedule_epochs: Length of the cosine schedule in epochs; by default the Trainer's ``max_epochs``.
        weights_optimizer: Makes the weights' optimiser; by default SGD(lr=0.025, momentum=0.9, weight_decay=3e-4).
        alphas_optimizer: Makes the alphas' optimiser; by default Adam(lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3).
        seed: Seed of the initial weights and alphas.

    Raises:
        ValueError: If an argument is none of its options, or out of range.

    Example:
        >>> module = DartsModule("darts?nodes=2", scale={"channels": 4, "layers": 3})
        >>> module.alphas["normal"].shape
        torch.Size([5, 8])
        >>> module.derive().space
        'darts?nodes=2'
    """

    def __init__(
        self,
        space: SearchSpace | str = "darts",
        task: Task | None = None,
        *,
        scale: Mapping[str, Any] | None = None,
        order: Order = "second",
        hessian: Hessian = "finite_difference",
        update_order: UpdateOrder = "alpha_first",
        bn_stats: BatchNormStatistics = "clean",
        virtual_step: VirtualStep = "local",
        clip_virtual: bool = False,
        budget: CostBudget | None = None,
        warmup_epochs: int = 0,
        grad_clip: float | None = 5.0,
        min_learning_rate: float = 0.001,
        schedule_epochs: int | None = None,
        weights_optimizer: OptimizerCallable | None = None,
        alphas_optimizer: OptimizerCallable | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(space, task, scale, seed)
        check_choice("order", order, get_args(Order))
        check_choice("hessian", hessian, get_args(Hessian))
        check_choice("update_order", update_order, get_args(UpdateOrder))
        check_choice("bn_stats", bn_stats, get_args(BatchNormStatistics))
        check_choice("virtual_step", virtual_step, get_args(VirtualStep))
        check_at_least("warmup_epochs", warmup_epochs, 0)
        check_at_least("schedule_epochs", schedule_epochs, 1)
        check_positive("grad_clip", grad_clip)
        if clip_virtual and grad_clip is None:
            raise ValueError("Expected a `grad_clip` for clip_virtual=True but got None")
        self.order = order
        self.hessian = hessian
        self.update_order = update_order
        self.bn_stats = bn_stats
        self.virtual_step = virtual_step
        self.clip_virtual = clip_virtual
        self.warmup_epochs = warmup_epochs
        self.grad_clip = grad_clip
        self.min_learning_rate = min_learning_rate
        self.schedule_epochs = schedule_epochs
        self.weights_optimizer = weights_optimizer or partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4)
        self.alphas_optimizer = alphas_optimizer or partial(Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.automatic_optimization = False
        with fixed_seed(derive_seed(seed, "weights")):
            self.supernet = self.space.supernet(**self.scale)
            self.space.check_mixable(self.supernet)
        self.budget = None if budget is None else self._bind(budget)
        self._budget_settings = None if budget is None else dict(vars(budget))
        self.alphas = nn.ParameterDict(initial_alphas(self.space.groups, seed).items())  # it would sort a dictionary
        self._first_alpha_step = True
        # plain data only: a checkpoint must load with weights_only
        self.save_hyperparameters(ignore=["space", "task", "scale", "budget", "weights_optimizer", "alphas_optimizer"])
        self.save_hyperparameters({"space": self.space.name, "scale": self.scale})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the derived architecture to the checkpoint, and what budget it keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["budget"] = self._budget_settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another budget than that of the search: another architecture would be derived."""
        super().on_load_checkpoint(checkpoint)
        if self._budget_settings != checkpoint.get("budget"):
            raise ValueError(
                f"Expected the `budget` of the search, {checkpoint.get('budget')}, but got {self._budget_settings}; "
                "give it: DartsModule.load_from_checkpoint(path, budget=CostBudget(...))"
            )

    def _bind(self, budget: CostBudget) -> BoundBudget:
        if not isinstance(self.supernet, ModuleSupernet):
            raise ValueError(f"Expected a ModuleSpace for a `budget` but got space {self.space.name!r}")
        return budget.bind(self.supernet.model, self.supernet.choices, self.space.example)

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the optimiser of the weights and the one of the alphas."""
        weights = self.weights_optimizer(self.supernet.parameters())
        if self.order == "second" and not _is_plain_sgd(weights):
            raise MisconfigurationException(
                f"Expected plain SGD (no Nesterov, no dampening) as `weights_optimizer` of order='second', whose step "
                f"is looked ahead, but got {weights}; use such an SGD, or order='first'"
            )
        return [weights, self.alphas_optimizer(self.alphas.parameters())]

    def on_fit_start(self) -> None:
        """Check that the schedule has an end, and that the search does not end before it begins."""
        self._schedule_length()
        check_warmup(self.trainer, self.warmup_epochs)

    def _schedule_length(self) -> int:
        epochs = self.schedule_epochs or self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise MisconfigurationException(
                f"Expected Trainer(max_epochs=...) for the cosine schedule but got {epochs}; "
                "give it, or DartsModule(schedule_epochs=...)"
            )
        return epochs

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of the weights for this epoch, and seed torch for this batch."""
        super().on_train_batch_start(batch, batch_idx)
        # at every batch: a run resumed from the last batch of an epoch never gets to the start of the next
        for group in self._optimizers()[0].param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            final = min(self.min_learning_rate, initial)
            group["lr"] = cosine(self.current_epoch, self._schedule_length(), initial, final)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Step the alphas on the architecture batch and the weights on the weights batch."""
        weights_batch, architecture_batch = split_streams(batch)
        weights_batch = self.continued("weights", weights_batch, batch_idx)
        architecture_batch = self.continued("architecture", architecture_batch, batch_idx)
        searching = self.current_epoch >= self.warmup_epochs
        with scaled_rates(self._optimizers()[0], self.task.rate_factor(weights_batch)):
            if searching and self.update_order == "alpha_first":
                self._alpha_step(weights_batch, architecture_batch)
            self._weights_step(weights_batch)
            if searching and self.update_order == "w_first":
                self._alpha_step(weights_batch, architecture_batch)
        seen = batch_size(weights_batch) + (batch_size(architecture_batch) if searching else 0)
        self.examples_seen += self.trainer.world_size * seen

    def _weights_step(self, batch: Any) -> None:
        optimizer = cast("list[LightningOptimizer]", self.optimizers())[0]
        evaluation = self.task.evaluate(self._network(list(self.alphas.values())), batch)
        optimizer.zero_grad()
        self.manual_backward(evaluation.training_loss)
        if self.grad_clip is not None:
            self.clip_gradients(optimizer.optimizer, gradient_clip_val=self.grad_clip, gradient_clip_algorithm="norm")
        optimizer.step()
        torch.clear_autocast_cache()  # it would keep low-precision copies of the old weights for an alpha step
        self.record("train", evaluation, batch_size(batch))
        self.carry("weights", evaluation)

    def _alpha_step(self, weights_batch: Any, architecture_batch: Any) -> None:
        # the bare optimiser: Lightning's global_step must count batches, not steps of two optimisers
        optimizer = self._optimizers()[1]
        for alpha, gradient in zip(
            self.alphas.values(), self.alpha_gradient(weights_batch, architecture_batch), strict=True
        ):
            alpha.grad = gradient
        optimizer.step()
        optimizer.zero_grad()
        self._check_alphas()

    def alpha_gradient(self, weights_batch: Any, architecture_batch: Any) -> list[Tensor]:
        """Return the gradient for the alphas of every group, averaged over all processes.

        Weights, optimisers and torch's random state are left as they are, BatchNorm statistics as ``bn_stats`` says.
        """
        alphas = [alpha.detach().requires_grad_() for alpha in self.alphas.values()]
        seed = derive_seed(self.seed, "alpha step", self.global_step, self.global_rank)

        def evaluate(batch: Any, *, frozen: bool) -> Evaluation:
            # one seed for all passes, or the finite difference would measure the noise of dropout
            with fixed_seed(seed, self.device), self._statistics(frozen=frozen or self.bn_stats == "clean"):
                return self.task.evaluate(self._network(alphas), batch)

        def training_loss() -> Tensor:
            return evaluate(weights_batch, frozen=False).loss

        def validation_loss(*, frozen: bool) -> Tensor:
            evaluation = evaluate(architecture_batch, frozen=frozen)
            self.carry("architecture", evaluation)
            value = evaluation.loss
            self._check_reached(value, alphas)
            return value if self.budget is None else value + self.budget.penalty(self.mixtures(alphas))

        mean = partial(mean_over_processes, trainer=self.trainer)
        if self.order == "first":
            return first_order(partial(validation_loss, frozen=False), alphas, mean)
        second_order = SecondOrder(
            [weight for weight in self.supernet.parameters() if weight.requires_grad],
            self._optimizers()[0],
            self.hessian,
            self.grad_clip if self.clip_virtual else None,
            self.virtual_step,
            mean,
        )
        # the look-ahead's own statistics are thrown away in the authors' code too
        return second_order.gradient(training_loss, partial(validation_loss, frozen=True), alphas)

    def _check_reached(self, loss: Tensor, alphas: Sequence[Tensor]) -> None:
        # at the first step only: later ones may skip a choice; small supernets of other spaces lack a kind of cell
        if self._first_alpha_step and isinstance(self.supernet, ModuleSupernet):
            check_reached(loss, dict(zip(self.alphas, alphas, strict=True)), type(self.supernet.model).__name__)
        self._first_alpha_step = False

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate the supernet with the current mixture."""
        batch = self.continued("val", batch, batch_idx)
        # a recurrent cell has one BatchNorm for all nodes and steps: its running statistics are of none of them
        batch_wise = batch_statistics(self.supernet, self._batch_norms) if self.space.reads_text else nullcontext()
        with batch_wise:
            evaluation = self.task.evaluate(self._network(list(self.alphas.values())), batch)
        self.record("val", evaluation, batch_size(batch))
        self.carry("val", evaluation)

    def on_train_epoch_end(self) -> None:
        """Log where the search stands."""
        mixtures = self.mixtures(list(self.alphas.values()))
        entropies = torch.cat([torch.special.entr(mixture.weights).sum(1) for mixture in mixtures.values()])
        state: dict[str, float | Tensor] = {
            "search/entropy": entropies.mean(),
            "search/skip_count": self.skip_count(self.derive()),
            "train/learning_rate": float(self._optimizers()[0].param_groups[0]["lr"]),
        }
        if self.budget is not None:
            state["search/cost"] = self.budget.cost(mixtures)
        self.log_dict(state, sync_dist=True, batch_size=1)  # equal everywhere; Lightning warns without it
        self.log_search()

    def mixtures(self, alphas: Sequence[Tensor]) -> dict[str, Mixture]:
        """Return the mixtures that alphas stand for, a softmax over the candidates of every row."""
        groups = (group.name for group in self.space.groups)
        return {name: Mixture(alpha.softmax(-1)) for name, alpha in zip(groups, alphas, strict=True)}

    def weights(self) -> dict[str, Tensor]:
        """Return the softmax of the alphas."""
        mixtures = self.mixtures(list(self.alphas.values()))
        return {name: mixture.weights.detach() for name, mixture in mixtures.items()}

    def architecture_loss(self, alphas: Sequence[Tensor], batch: Any) -> Tensor:
        """Return the loss of a batch as a function of alphas, in the order of ``self.alphas``.

        It is the one that they are trained on, without a budget. BatchNorm takes the statistics of the batch, and its
        running statistics stay what they are.
        """
        with self._statistics(frozen=True):
            return self.task.loss(self._network(alphas), batch)

    def derive(self) -> Architecture:
        """Return the discrete architecture of the current alphas, by the space's rule."""
        self._check_alphas()
        tables = {name: mixture.weights for name, mixture in self.mixtures(list(self.alphas.values())).items()}
        provenance = {**self.provenance(), "order": self.order}
        if self.budget is not None:
            return Architecture(self.space.name, self.budget.discretize(tables), provenance)
        return replace(self.space.discretize(tables), provenance=provenance)

    def _check_alphas(self) -> None:
        check_finite(self.alphas.values(), self.current_epoch, "a smaller `grad_clip`")

    def _network(self, alphas: Sequence[Tensor]) -> Network:
        return partial(self.supernet, mixtures=self.mixtures(alphas))

    def _optimizers(self) -> list[Optimizer]:
        return cast("list[Optimizer]", self.optimizers(use_pl_optimizer=False))

    def _statistics(self, *, frozen: bool) -> AbstractContextManager[None]:
        return frozen_statistics(self._batch_norms if frozen else [])

    @cached_property
    def _batch_norms(self) -> list[BatchNorm]:
        return batch_norms(self.supernet)


def _is_plain_sgd(optimizer: Optimizer) -> bool:
    groups = optimizer.param_groups
    return isinstance(optimizer, SGD) and not any(group["nesterov"] or group["dampening"] for group in groups)
