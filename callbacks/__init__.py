"""Callbacks for searches and for any Lightning project."""

from lightning_nas.callbacks.derive_architecture import DeriveArchitecture
from lightning_nas.callbacks.differentiable_search import DifferentiableSearch

__all__ = ["DeriveArchitecture", "DifferentiableSearch"]
