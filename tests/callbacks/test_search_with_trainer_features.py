"""What the Trainer does for the user's automatic optimisation works with the callback, too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.testing import assert_close

from lightning_nas._lightning import pl
from tests.callbacks.project import (
    FILTERS,
    Project,
    alphas,
    fit,
    initial_alphas,
    searching,
    sgd,
    training,
    weights,
)

pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


class Stepped(Project):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": StepLR(optimizer, 2), "interval": "step"}}


class Rates(pl.Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))


def test_schedulers_are_stepped(tmp_path: Path) -> None:
    rates = Rates()
    fit(Stepped(), [searching(tmp_path), rates], epochs=1)
    assert rates.rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_reduce_on_plateau_is_stepped(tmp_path: Path) -> None:
    class Plateau(Project):
        def on_validation_epoch_end(self) -> None:
            self.log("val_constant", 1.0)

        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=0.1)
            scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_constant"}}

    rates = Rates()
    fit(Plateau(), [searching(tmp_path), rates], epochs=4, limit_train_batches=1)
    assert rates.rates == pytest.approx([0.1, 0.1, 0.05, 0.025])


def test_validation_runs_and_what_monitors_it_works(tmp_path: Path) -> None:
    class Worse(Project):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", float(self.current_epoch))

    stop = pl.callbacks.EarlyStopping("val_loss", patience=2)
    best = pl.callbacks.ModelCheckpoint(tmp_path, monitor="val_loss")
    trainer = fit(Worse(), [searching(tmp_path), stop, best], epochs=9, enable_checkpointing=True)
    assert trainer.current_epoch == 3
    assert best.best_model_score == 0.0
    checkpoint = torch.load(best.best_model_path, weights_only=True)
    assert checkpoint["epoch"] == 0
    assert checkpoint["callbacks"]["DifferentiableSearch"]["epoch"] == 0


def test_clipping_by_the_trainer_is_for_the_weights_only(tmp_path: Path) -> None:
    class Fast(Project):
        def configure_optimizers(self) -> Any:
            return SGD(self.parameters(), lr=1.0)

    module, search = Fast(), searching(tmp_path, optimizer=sgd(1.0))
    fit(module, [search], epochs=1, limit_train_batches=1, gradient_clip_val=1e-3)
    before = dict(Fast().named_parameters())
    moved = torch.cat([(p - before[name]).detach().flatten() for name, p in module.named_parameters()])
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-2)
    free = searching(tmp_path, optimizer=sgd(1.0))
    fit(Fast(), [free], epochs=1, limit_train_batches=1)
    assert torch.equal(alphas(search)["activation"], alphas(free)["activation"])
    assert (alphas(free)["activation"] - initial_alphas(tmp_path)["activation"]).norm() > 1e-2


def test_accumulated_batches_equal_larger_ones(tmp_path: Path) -> None:
    states = []
    for batch_size, accumulate in ((4, 2), (8, 1)):
        module, search = Project(), searching(tmp_path, optimizer=sgd(1.0))
        options: dict[str, Any] = {"precision": "64-true", "accumulate_grad_batches": accumulate}
        trainer = fit(module, [search], train=training(batch_size), **options)
        assert trainer.global_step == 4
        states.append({**weights(module), **alphas(search)})
    for name, value in states[0].items():
        assert_close(value, states[1][name], rtol=1e-9, atol=1e-12)
    assert (states[0]["activation"] - initial_alphas(tmp_path)["activation"]).abs().max() > 1e-3
