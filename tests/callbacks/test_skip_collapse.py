"""DARTS+: a search ends when its cells turn into skip connections."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from lightning_nas import Architecture, DartsModule, EnasModule, RetrainModule, SkipCollapse
from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.callbacks.skip_collapse import ranking
from lightning_nas.testing.search_module import RandomImages
from tests.callbacks.project import FILTERS, Project, fit, training
from tests.callbacks.saver import Saver

SCALE = {"channels": 4, "cells": 1, "classes": 8}
ORDERS = [[["a", "b"]], [["b", "a"]]]

pytestmark = [pytest.mark.filterwarnings(message) for message in FILTERS]


def architecture(skips: int, epoch: int = 0) -> Architecture:
    """An architecture of nasbench201 with so many skips; its last edge tells the epoch."""
    edges = ("edge0-1", "edge0-2", "edge1-2", "edge0-3", "edge1-3")
    values = {edge: "skip_connect" if k < skips else "nor_conv_3x3" for k, edge in enumerate(edges)}
    last = ("none", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")[epoch % 4]
    return Architecture("nasbench201", {**values, "edge2-3": last}, {"epoch": epoch})


class Scripted(DartsModule):
    """A search that derives what is written down for each epoch, and weighs as written down."""

    def __init__(self, skips: list[int], weights: list[list[float]] | None = None, warmup_epochs: int = 0) -> None:
        super().__init__("nasbench201", scale=SCALE, order="first", warmup_epochs=warmup_epochs)
        self.script, self.script_of_weights = skips, weights

    def derive(self) -> Architecture:
        last = len(self.script) - 1  # the Trainer counts one more at the end
        return architecture(self.script[min(self.current_epoch, last)], self.current_epoch)

    def weights(self) -> dict[str, Tensor]:
        if self.script_of_weights is None:
            return super().weights()
        return {"cell": torch.tensor([self.script_of_weights[self.current_epoch]])}


def search(module: pl.LightningModule, callback: SkipCollapse, folder: Path, epochs: int = 5) -> pl.Trainer:
    options: dict[str, Any] = {"default_root_dir": folder, "limit_train_batches": 1, "limit_val_batches": 0}
    return fit(module, [callback], epochs=epochs, datamodule=RandomImages(4), **options)


def reasons(callback: SkipCollapse, skips: list[float], orders: list[int] | None = None) -> list[str | None]:
    orders = orders or [0] * len(skips)
    return [
        callback.observe(architecture(int(count), epoch), count, {"cell": ORDERS[order]})
        for epoch, (count, order) in enumerate(zip(skips, orders, strict=True))
    ]


def test_more_skips_than_accepted() -> None:
    message = "the derived architecture has 2 skips, more than 1"
    assert reasons(SkipCollapse(), [0, 1, 2, 1]) == [None, None, message, None]
    assert reasons(SkipCollapse(max_skips=0), [0, 1]) == [None, "the derived architecture has 1 skips, more than 0"]
    assert reasons(SkipCollapse(max_skips=5), [0, 5]) == [None, None]


def test_a_ranking_that_has_not_changed() -> None:
    message = "the ranking of candidates has not changed for 2 epochs"
    callback = SkipCollapse(max_skips=None, stable_epochs=2)
    assert reasons(callback, [9] * 7, [0, 1, 1, 0, 0, 0, 0]) == [None, None, None, None, None, message, message]


def test_whichever_comes_first() -> None:
    skips = "the derived architecture has 2 skips, more than 1"
    assert reasons(SkipCollapse(stable_epochs=2), [0, 2, 0])[:2] == [None, skips]
    assert (
        reasons(SkipCollapse(stable_epochs=1), [0, 0, 2])[1] == "the ranking of candidates has not changed for 1 epochs"
    )


def test_ranking_of_what_learns() -> None:
    """The operations of nasbench201 are none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3."""
    module = Scripted([0], [[0.3, 0.3, 0.1, 0.2, 0.1]])
    assert ranking(module) == {"cell": [["nor_conv_3x3", "nor_conv_1x1"]]}
    module = Scripted([0], [[0.3, 0.3, 0.15, 0.15, 0.1]])  # a tie
    assert ranking(module) == {"cell": [["nor_conv_1x1", "nor_conv_3x3"]]}


def test_stops_at_the_criterion(tmp_path: Path) -> None:
    callback = SkipCollapse()
    trainer = search(Scripted([0, 1, 2, 3, 3]), callback, tmp_path)
    assert trainer.current_epoch == 3  # epochs 0, 1 and 2
    assert callback.architecture == architecture(2, 2)
    assert Architecture.load(tmp_path / "skip_collapse.json") == architecture(2, 2)
    assert trainer.callback_metrics["search/skip_collapse_epoch"] == 2
    assert callback.architecture is not None
    assert callback.architecture.provenance["epoch"] == 2


def test_exports_the_last_within_the_limit(tmp_path: Path) -> None:
    callback = SkipCollapse(export="last_within")
    trainer = search(Scripted([0, 1, 2, 3, 3]), callback, tmp_path)
    assert trainer.current_epoch == 3
    assert callback.architecture == architecture(1, 1) == Architecture.load(tmp_path / "skip_collapse.json")
    assert trainer.callback_metrics["search/skip_collapse_epoch"] == 1


def test_exports_the_first_one_when_none_was_within(tmp_path: Path) -> None:
    callback = SkipCollapse(export="last_within", dirpath=tmp_path / "own")
    search(Scripted([4, 0, 0, 0, 0]), callback, tmp_path)
    assert callback.architecture == architecture(4, 0) == Architecture.load(tmp_path / "own" / "skip_collapse.json")


def test_a_criterion_that_never_holds(tmp_path: Path) -> None:
    callback = SkipCollapse(stable_epochs=5)
    trainer = search(Scripted([1] * 5, [[0.2] * 5] * 6), callback, tmp_path)
    assert trainer.current_epoch == 5
    assert callback.architecture is None
    assert list(tmp_path.iterdir()) == []
    assert "search/skip_collapse_epoch" not in trainer.callback_metrics


def test_stops_when_the_ranking_is_stable(tmp_path: Path) -> None:
    """The weights of epochs 1 to 3 rank the convolutions alike; the rest may move."""
    weights = [
        [0.0, 0.0, 0.2, 0.1, 0.7],
        [0.5, 0.0, 0.1, 0.2, 0.2],
        [0.0, 0.6, 0.1, 0.2, 0.1],
        [0.2] * 2 + [0.1, 0.4, 0.1],
    ]
    callback = SkipCollapse(max_skips=None, stable_epochs=2)
    trainer = search(Scripted([9] * 5, weights + weights), callback, tmp_path)
    assert trainer.current_epoch == 4
    assert trainer.callback_metrics["search/skip_collapse_epoch"] == 3


@pytest.mark.parametrize(("own", "given"), [(2, None), (0, 2), (4, 2)])
def test_epochs_of_the_warmup_do_not_count(own: int, given: int | None, tmp_path: Path) -> None:
    """The module's own, or those that are given."""
    callback = SkipCollapse(warmup_epochs=given)
    trainer = search(Scripted([3, 3, 1, 3, 0], warmup_epochs=own), callback, tmp_path)
    assert trainer.callback_metrics["search/skip_collapse_epoch"] == 3


def test_a_ranking_during_the_warmup_is_not_stable(tmp_path: Path) -> None:
    callback = SkipCollapse(max_skips=None, stable_epochs=1)
    trainer = search(Scripted([0] * 5, [[0.2] * 5] * 6, warmup_epochs=2), callback, tmp_path)
    assert trainer.callback_metrics["search/skip_collapse_epoch"] == 3


def test_warns_once_and_goes_on(tmp_path: Path) -> None:
    callback = SkipCollapse(action="warn")
    message = r"^Epoch 1: the derived architecture has 2 skips, more than 1; skip_collapse.json holds .* epoch 1$"
    with pytest.warns(UserWarning, match=message) as caught:
        trainer = search(Scripted([0, 2, 3, 3, 3]), callback, tmp_path)
    assert len([warning for warning in caught if "skips" in str(warning.message)]) == 1
    assert trainer.current_epoch == 5
    assert Architecture.load(tmp_path / "skip_collapse.json") == architecture(2, 1)


def weights_ranked(epoch: int) -> list[float]:
    """The same way from epoch 1 on."""
    return [0.2, 0.2, 0.1, 0.3, 0.2] if epoch else [0.2, 0.2, 0.3, 0.1, 0.2]


@pytest.mark.parametrize("when", ["epoch", "last batch"])
def test_resumed_equals_uninterrupted(when: Literal["epoch", "last batch"], tmp_path: Path) -> None:
    """From the end of an epoch, and from its last batch; the last of them when the search had stopped."""

    def run(*callbacks: pl.Callback, ckpt_path: Path | None = None) -> pl.Trainer:
        module = Scripted([0, 1, 0, 1, 2, 0], [weights_ranked(epoch) for epoch in range(7)])
        return fit(
            module, callbacks, epochs=6, datamodule=RandomImages(8), ckpt_path=ckpt_path,
            default_root_dir=tmp_path, limit_val_batches=0, enable_checkpointing=ckpt_path is None,
        )  # fmt: skip

    straight = SkipCollapse(stable_epochs=4, export="last_within")
    assert run(straight, Saver(tmp_path, when)).global_step == 5
    assert straight.architecture == architecture(1, 3)
    assert straight.state_dict()["unchanged"] == 3
    for epoch in range(5):
        (tmp_path / "skip_collapse.json").unlink()
        resumed = SkipCollapse(stable_epochs=4, export="last_within")
        assert run(resumed, ckpt_path=tmp_path / f"{epoch}.ckpt").global_step == 5
        assert resumed.state_dict() == straight.state_dict()
        assert Architecture.load(tmp_path / "skip_collapse.json") == architecture(1, 3)


class Ranks(pl.Callback):
    """Writes where each process has stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (self.folder / f"rank{trainer.global_rank}").write_text(str(trainer.current_epoch))


def test_two_processes_stop_together(tmp_path: Path) -> None:
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork", "default_root_dir": tmp_path}
    module, callbacks = Scripted([0, 2, 0, 0, 0]), [SkipCollapse(), Ranks(tmp_path)]
    fit(module, callbacks, epochs=5, datamodule=RandomImages(4), limit_val_batches=0, **options)
    assert [(tmp_path / f"rank{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    assert Architecture.load(tmp_path / "skip_collapse.json") == architecture(2, 1)


def test_another_search_begins_anew(tmp_path: Path) -> None:
    callback = SkipCollapse()
    search(Scripted([0, 2, 0, 0, 0]), callback, tmp_path)
    trainer = search(Scripted([0, 0, 0, 3, 0]), callback, tmp_path)
    assert trainer.current_epoch == 4
    assert callback.architecture == architecture(3, 3)


def test_state_is_plain_data(tmp_path: Path) -> None:
    callback = SkipCollapse(stable_epochs=9)
    search(Scripted([0, 1, 2, 0, 0]), callback, tmp_path)
    assert json.loads(json.dumps(callback.state_dict())) == callback.state_dict()
    assert callback.state_dict()["architecture"] is not None


def test_two_callbacks_keep_their_own_state() -> None:
    assert SkipCollapse(dirpath="a").state_key != SkipCollapse(dirpath="b").state_key


def test_a_real_search_of_darts(tmp_path: Path) -> None:
    module, callback = DartsModule("nasbench201", scale=SCALE, order="first"), SkipCollapse(max_skips=0)
    with torch.no_grad():
        module.alphas["cell"][:, 1] = 5.0  # skip_connect
    trainer = search(module, callback, tmp_path)
    assert trainer.current_epoch == 1
    assert callback.architecture is not None
    assert set(callback.architecture.values.values()) == {"skip_connect"}


def test_a_search_of_enas(tmp_path: Path) -> None:
    """It derives what it has chosen at the end of the epoch, which is before the callback looks."""
    module = EnasModule("nasbench201", scale=SCALE, controller_steps=1, derive_samples=2)
    at_start, callback = module.derive(), SkipCollapse(max_skips=6)
    search(module, callback, tmp_path, epochs=1)
    assert Architecture.from_dict(callback.state_dict()["within"]) == module.derive() != at_start
    assert callback.architecture is None


def test_refuses_a_module_that_is_no_search() -> None:
    with pytest.raises(TypeError, match=r"Expected SkipCollapse to run with a search, .*derive\(\), but got .*Project"):
        fit(Project(), [SkipCollapse()], train=training())
    retrain = RetrainModule("nasbench201", architecture(1), scale=SCALE)
    with pytest.raises(TypeError, match=r"but got .*RetrainModule"):
        fit(retrain, [SkipCollapse()], datamodule=RandomImages(4))


def test_refuses_to_rank_without_weights(tmp_path: Path) -> None:
    module = EnasModule("nasbench201", scale=SCALE)
    message = r"weights\(\) of two candidates .* `stable_epochs` but got EnasModule on space 'nasbench201'; use `max_sk"
    with pytest.raises(MisconfigurationException, match=message):
        search(module, SkipCollapse(stable_epochs=3), tmp_path)
    lone = DartsModule(
        "darts?nodes=1&operations=skip_connect,max_pool_3x3,sep_conv_3x3", scale={"channels": 4, "layers": 3}
    )
    with pytest.raises(MisconfigurationException, match=r"but got DartsModule"):
        search(lone, SkipCollapse(stable_epochs=3), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_skips": -1}, "Expected `max_skips` to be at least 0 but got -1"),
        ({"stable_epochs": 0}, "Expected `stable_epochs` to be at least 1 but got 0"),
        ({"warmup_epochs": -1}, "Expected `warmup_epochs` to be at least 0 but got -1"),
        ({"max_skips": None}, "Expected a criterion, `max_skips` or `stable_epochs`, but got None for both"),
        ({"action": "halt"}, r"Expected `action` to be one of \['stop', 'warn'\] but got 'halt'"),
        ({"export": "best"}, r"Expected `export` to be one of \['criterion', 'last_within'\] but got 'best'"),
    ],
)
def test_refuses_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SkipCollapse(**arguments)
