"""DARTS keeps to the contract of search methods."""

from typing import Any

from torch import nn

from lightning_nas._lightning import pl
from lightning_nas.datamodules import DigitsDataModule
from lightning_nas.methods import DartsModule, SearchModule
from lightning_nas.spaces import DartsSpace, NasBench201Space
from lightning_nas.testing import SearchModuleContract


def without_batch_norm(network: nn.Module) -> nn.Module:
    """Replace every BatchNorm by a normalisation that looks at one image at a time."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(1, child.num_features))
    return network


class PlainDarts(DartsSpace):
    def supernet(self, **scale: Any) -> nn.Module:  # type: ignore[override]  # the scale is not spelled out
        return without_batch_norm(super().supernet(**scale))


class PlainNasBench201(NasBench201Space):
    def supernet(self, **scale: Any) -> nn.Module:  # type: ignore[override]  # the scale is not spelled out
        return without_batch_norm(super().supernet(**scale))


class TestDartsSpace(SearchModuleContract):
    def module(self) -> SearchModule:
        return DartsModule("darts?nodes=2", scale={"channels": 4, "layers": 3}, warmup_epochs=1)


class TestNasBench201(SearchModuleContract):
    def module(self) -> SearchModule:
        return DartsModule("nasbench201", scale={"channels": 4, "cells": 1}, bn_stats="reference", seed=5)


class TestOnRealImages(SearchModuleContract):
    """The images are shuffled and cropped at random."""

    def module(self) -> SearchModule:
        scale = {"channels": 4, "layers": 3, "in_channels": 1}
        return DartsModule(DartsSpace(nodes=1), scale=scale, order="first", update_order="w_first")

    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        return DigitsDataModule(search=True, batch_size=batch_size, max_train_images=16)


class TestFirstOrderWithoutBatchNorm(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        return DartsModule(PlainDarts(nodes=1), scale={"channels": 4, "layers": 3}, order="first", grad_clip=0.5)


class TestSecondOrderWithoutBatchNorm(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        scale = {"channels": 4, "cells": 1}
        return DartsModule(PlainNasBench201(), scale=scale, virtual_step="global", clip_virtual=True, grad_clip=0.5)
