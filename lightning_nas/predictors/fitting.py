"""Training all members of a predictor at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_nas.checks import check_at_least, check_positive
from lightning_nas.predictors.base import Predictor
from lightning_nas.predictors.tokens import Tokens
from lightning_nas.seeding import make_generator


@contextmanager
def outside_trainer() -> Iterator[None]:
    """Compute as outside a Trainer's hooks: with gradients and without autocast."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        yield


@dataclass(frozen=True)
class Fitting:
    """How predictors are trained: with Adam on the mean absolute error (L1), keeping the best weights of all epochs.

    Args:
        epochs: Passes over the data.
        full_batch: Up to so many examples a pass is one step.
        batch_size: Examples a step, where there are more; batches of a pass differ by at most one example.
        learning_rate: Adam's.

    Raises:
        ValueError: If a number is out of range.
    """

    epochs: int = 300
    full_batch: int = 256
    batch_size: int = 64
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 0)
        check_at_least("full_batch", self.full_batch, 0)
        check_at_least("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)

    def fit(
        self, predictor: Predictor, tokens: Tokens, targets: Tensor, parts: Sequence[Tensor], seeds: Sequence[int]
    ) -> Tensor:
        """Train each member on its part of the data, and return the L1 of each, ``[members]``.

        Args:
            predictor: Changed in place.
            tokens: The architectures.
            targets: ``[n]``, in [0, 1].
            parts: For each member the indices of its examples; sizes differ by at most one.
            seeds: For each member the seed of the order of its batches.
        """
        with outside_trainer():
            index = pad_sequence(list(parts), batch_first=True)
            there = pad_sequence([torch.ones(len(part)) for part in parts], batch_first=True)
            data = _Data(predictor.features(tokens)[index], targets.float()[index], there)
            return self._fit(predictor, data, [make_generator(seed, "batches") for seed in seeds])

    def _fit(self, predictor: Predictor, data: "_Data", generators: list[torch.Generator]) -> Tensor:
        optimiser = torch.optim.Adam(predictor.parameters(), lr=self.learning_rate, fused=True)
        best = _Best(predictor)
        whole = data.size <= self.full_batch
        for _ in range(self.epochs):
            losses = self._losses(predictor, data, keep_graph=whole)
            best.keep(losses.detach())
            for batch in [] if whole else data.batches(self.batch_size, generators):
                _step(optimiser, batch.losses(predictor))
            if whole:
                _step(optimiser, losses)
        best.keep(self._losses(predictor, data, keep_graph=False))
        return best.restore()

    @staticmethod
    def _losses(predictor: Predictor, data: "_Data", *, keep_graph: bool) -> Tensor:
        with torch.set_grad_enabled(keep_graph):
            return data.losses(predictor)


def _step(optimiser: torch.optim.Optimizer, losses: Tensor) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(losses.sum())  # members share no parameter: the sum's gradient is each one's own
    optimiser.step()


@dataclass(frozen=True)
class _Data:
    """Examples of each member, ``[members, size, ...]``; ``there`` is zero for padding."""

    features: Tensor
    targets: Tensor
    there: Tensor

    @property
    def size(self) -> int:
        return self.targets.shape[1]

    def losses(self, predictor: Predictor) -> Tensor:
        """Return the mean absolute error of each member."""
        errors = (predictor(self.features) - self.targets).abs() * self.there
        losses: Tensor = errors.sum(1) / self.there.sum(1).clamp(min=1)
        return losses

    def batches(self, batch_size: int, generators: Sequence[torch.Generator]) -> Iterator["_Data"]:
        """Yield the examples of each member in a random order of its own; padding comes last."""
        sizes = self.there.sum(1).long().tolist()
        orders = [torch.randperm(n, generator=generator) for n, generator in zip(sizes, generators, strict=True)]
        order = pad_sequence(orders, batch_first=True, padding_value=self.size - 1)
        member = torch.arange(len(sizes))[:, None]
        for rows in order.tensor_split(-(-self.size // batch_size), 1):
            yield _Data(self.features[member, rows], self.targets[member, rows], self.there[member, rows])


class _Best:
    """The weights with which each member had its lowest loss."""

    def __init__(self, predictor: Predictor) -> None:
        self.parameters = list(predictor.parameters())
        self.weights = [parameter.detach().clone() for parameter in self.parameters]
        self.losses = torch.full((predictor.members,), torch.inf)

    @torch.no_grad()
    def keep(self, losses: Tensor) -> None:
        better = losses < self.losses
        self.losses = torch.where(better, losses, self.losses)
        for kept, parameter in zip(self.weights, self.parameters, strict=True):
            torch.where(better.reshape(-1, *[1] * (kept.ndim - 1)), parameter, kept, out=kept)

    @torch.no_grad()
    def restore(self) -> Tensor:
        for kept, parameter in zip(self.weights, self.parameters, strict=True):
            parameter.copy_(kept)
        return self.losses
