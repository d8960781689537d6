"""Spaces whose networks share no weights."""

from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor, nn

from lightning_nas.architecture import Architecture
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.mixture import Mixture


class UnsharedSpace(SearchSpace):
    """Base of spaces without a supernet: each network is trained from scratch, as in the papers."""

    @property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """None: there is no supernet."""
        return ()

    def supernet(self, **scale: Any) -> nn.Module:
        """Raise a ``ValueError``: there is no supernet."""
        self._has_no_supernet()

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Raise a ``ValueError``: there is no supernet."""
        self._has_no_supernet()

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Raise a ``ValueError``: there is no supernet."""
        self._has_no_supernet()

    def _has_no_supernet(self) -> NoReturn:
        raise ValueError(
            f"Expected a space with a supernet but got {self.name!r}: its networks share no weights, each is trained "
            "from scratch"
        )
