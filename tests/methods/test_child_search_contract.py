"""The contract of search methods, for those that train children."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from lightning_nas._lightning import pl
from lightning_nas.methods import (
    ChildSearchModule,
    EvolutionModule,
    NasModule,
    PetridishModule,
    PnasModule,
    RandomSearchModule,
)
from lightning_nas.testing import SearchModuleContract
from lightning_nas.testing.search_module import RandomImages

SCALE = {"channels": 4, "cells": 1}


class WholeImages(RandomImages):
    """The same images, as one stream of which every process gets all."""

    def train_dataloader(self) -> Any:
        return self._loader(8, seed=0)

    def _loader(self, count: int, seed: int) -> DataLoader[Any]:
        return DataLoader(super()._loader(count, seed).dataset, self.batch_size)


class ChildContract(SearchModuleContract):
    def datamodule(self, batch_size: int) -> pl.LightningDataModule:
        return WholeImages(batch_size)

    def search(
        self, folder: Path, ckpt_path: Path | None = None, *, batch_size: int = 4, **options: Any
    ) -> dict[str, Any]:
        return super().search(folder, ckpt_path, batch_size=batch_size, use_distributed_sampler=False, **options)


class TestRandomSearch(ChildContract):
    def module(self) -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=1)


class TestWithinChildren(ChildContract):
    def module(self) -> ChildSearchModule:
        return RandomSearchModule("nasbench201", scale=SCALE, epochs_per_child=2)


class TestEvolution(ChildContract):
    def module(self) -> ChildSearchModule:
        return EvolutionModule("nasbench201", population=2, sample=2, scale=SCALE, epochs_per_child=1)


class TestNas(ChildContract):
    def module(self) -> ChildSearchModule:
        space = "nas_conv?layers=2&kernels=1,3&filters=4,8"
        return NasModule(space, samples_per_update=2, learning_rate=0.1, epochs_per_child=1)


class TestPnas(ChildContract):
    def module(self) -> ChildSearchModule:
        scale = {"channels": 4, "cells_per_stage": 1}
        space = "nasnet?blocks=2&operations=identity"
        return PnasModule(space, beam=2, scale=scale, epochs_per_child=1)


class PetridishContract(ChildContract):
    """Three epochs are a seed, a hallucination and a child; or half of a hallucination, or of a child."""

    mode, epochs = "cell", 1

    def module(self) -> ChildSearchModule:
        return PetridishModule(
            f"petridish?mode={self.mode}&cells=1",
            scale={"filters": 4},
            seed_epochs=1,
            hallucination_epochs=self.epochs,
            child_epochs=self.epochs,
            input_shape=(3, 8, 8),
        )


class TestPetridish(PetridishContract):
    pass


class TestPetridishMacro(PetridishContract):
    mode = "macro"


class TestWithinHallucinations(PetridishContract):
    epochs = 3
