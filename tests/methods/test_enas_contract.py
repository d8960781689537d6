from typing import Any

from torch import Tensor, nn

from lightning_nas import ModuleSpace, OpChoice, RepeatChoice
from lightning_nas.methods import EnasModule
from lightning_nas.methods.base import SearchModule
from lightning_nas.tasks import Classification
from lightning_nas.testing import SearchModuleContract

FEW: dict[str, Any] = {"controller_steps": 2, "samples_per_step": 3, "derive_samples": 4}


class Network(nn.Module):
    """Without BatchNorm, whose statistics are those of one process."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.body = RepeatChoice(
            lambda: OpChoice({"linear": nn.Linear(4, 4), "tanh": nn.Tanh(), "skip": nn.Identity()}), (0, 1, 3)
        )
        self.head = nn.Linear(4, 8)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(self.stem(images.mean((2, 3)))))
        return output


class TestOnNasBench201(SearchModuleContract):
    def module(self) -> SearchModule:
        return EnasModule("nasbench201", scale={"channels": 4, "cells": 1}, **FEW)


class TestOnDartsCells(SearchModuleContract):
    def module(self) -> SearchModule:
        scale = {"channels": 4, "layers": 3}
        return EnasModule("darts?nodes=2", scale=scale, preset="paper", grad_clip=5.0, **FEW)


class TestOnOwnModel(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        return EnasModule(ModuleSpace(Network), Classification(8), uniform_samples=2, **FEW)


class TestUniform(SearchModuleContract):
    equals_large_batch = True

    def module(self) -> SearchModule:
        return EnasModule(ModuleSpace(Network), Classification(8), controller="uniform", **FEW)


class TestMicro(SearchModuleContract):
    def module(self) -> SearchModule:
        scale = {"channels": 4, "layers": 2, "dropout": 0.5}
        return EnasModule("enas_micro?nodes=2", scale=scale, controller_steps=1, samples_per_step=2, derive_samples=2)


class TestMacro(SearchModuleContract):
    def module(self) -> SearchModule:
        scale = {"channels": 4, "dropout": 0.5}
        return EnasModule("enas_macro?layers=3", scale=scale, controller_steps=1, samples_per_step=2, derive_samples=2)
