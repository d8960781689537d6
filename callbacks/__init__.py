"""Callbacks for searches and for any Lightning project."""

from lightning_nas.callbacks.derive_architecture import DeriveArchitecture

__all__ = ["DeriveArchitecture"]
