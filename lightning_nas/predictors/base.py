"""The interface of an accuracy predictor."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_scale
from lightning_nas.predictors.encoding import Encoding
from lightning_nas.predictors.tokens import Tokens

EMBEDDING_BOUND = 0.1  # embeddings start uniform in +-0.1
OUTPUT_BIAS = 1.8  # sigmoid(1.8) = 0.858: the mean accuracy of one-block cells on CIFAR-10 in the paper


class Predictor(nn.Module, ABC):
    """Predicts scores in (0, 1) from tokens.

    Several independent predictors ("members") are one module: each parameter has a leading dimension of members, so
    that all are trained in one computation. A member has the same weights whatever the number of the others.

    Args:
        encoding: What the tokens mean.
        embedding: Width of the embeddings.
        hidden: Width of the hidden layers.
        seeds: Seed of the initial weights of each member.
        bias: What the output is before the sigmoid, at first and nearly.
    """

    embedding: nn.Parameter
    output_bias: nn.Parameter

    def __init__(
        self,
        encoding: Encoding,
        *,
        embedding: int = 100,
        hidden: int = 100,
        seeds: Sequence[int] = (0,),
        bias: float = OUTPUT_BIAS,
    ) -> None:
        super().__init__()
        check_scale(embedding=embedding, hidden=hidden, members=len(seeds))
        self.encoding = encoding
        self.members = len(seeds)
        for name, shape in self.shapes(encoding, embedding, hidden).items():
            self.register_parameter(name, nn.Parameter(torch.empty(self.members, *shape, dtype=torch.float32)))
        for member, seed in enumerate(seeds):
            self._initialise(member, torch.Generator().manual_seed(seed))
        nn.init.constant_(self.output_bias, bias)

    @abstractmethod
    def shapes(self, encoding: Encoding, embedding: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter of one member; ``"output_bias"`` is one of them."""

    @abstractmethod
    def features(self, tokens: Tokens) -> Tensor:
        """Return what ``forward`` reads: no parameter has a part in it, so it is computed once for many steps."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Return the predictions ``[members, n]``.

        Args:
            features: ``[n, ...]``, the same for all members, or ``[members, n, ...]``.
        """

    def _initialise(self, member: int, generator: torch.Generator) -> None:
        """Draw embeddings from +-0.1 and weights ``[in, out]`` as torch's linear layers do; biases are zero."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.zeros_(parameter[member])
            else:
                bound = EMBEDDING_BOUND if name.startswith("embedding") else 1 / math.sqrt(parameter.shape[-2])
                nn.init.uniform_(parameter[member], -bound, bound, generator=generator)
