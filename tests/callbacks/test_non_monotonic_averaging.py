from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import ASGD, SGD
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.callbacks import NonMonotonicAveraging

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 1,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Scripted(pl.LightningModule):
    """Fits a line; its validation losses are given, and what is validated is kept."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.line = nn.Linear(2, 1)
        nn.init.constant_(self.line.weight, 1.0)
        nn.init.zeros_(self.line.bias)
        self.scripted = losses
        self.validated: list[Tensor] = []
        self.trained: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss: Tensor = (self.line(x) - y).square().mean()
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        self.trained.append(self.line.weight.detach().clone())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.line.weight.detach().clone())
            self.log("val/loss", self.scripted[self.trainer.current_epoch])

    def configure_optimizers(self) -> SGD:
        return SGD(self.line.parameters(), lr=0.1)


def data() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 2, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), 4)


def one() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(1, 2), torch.zeros(1, 1)))


def fit(module: Scripted, callback: NonMonotonicAveraging, epochs: int, folder: Path, **options: Any) -> pl.Trainer:
    checkpoints = pl.callbacks.ModelCheckpoint(folder, save_last=True)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[callback, checkpoints], default_root_dir=folder, **QUIET)
    trainer.fit(module, data(), one(), **options)
    return trainer


LOSSES = [5.0, 2.0, 3.0, 3.5, 3.1, 2.0, 3.0]


@pytest.mark.parametrize(
    ("losses", "patience", "began"),
    [
        ([5.0, 4.0, 3.0, 3.5, 3.2, 3.1], 2, 5),  # 3.1 > min(5, 4, 3): the two before it do not count
        ([5.0, 4.0, 3.0, 2.0, 1.0], 2, None),
        ([1.0, 2.0, 2.0, 2.0], 3, None),  # as many as the patience are not yet more
        ([1.0, 2.0, 2.0, 2.0, 2.0], 3, 4),
        ([3.0, 3.0, 3.0, 3.0], 1, None),  # equal is not worse
        ([float("nan")] * 9, 1, None),
    ],
)
def test_rule(losses: list[float], patience: int, began: int | None) -> None:
    callback = NonMonotonicAveraging(patience)
    times = []
    for loss in losses:
        times.append(callback.is_time(loss))
        callback.losses.append(loss)
    assert (times.index(True) if True in times else None) == began


def test_averages_like_asgd_and_validates_the_mean(tmp_path: Path) -> None:
    module, callback = Scripted(LOSSES), NonMonotonicAveraging(2)
    fit(module, callback, 7, tmp_path)
    assert callback.began == 5 * 3  # 3.1 is worse than the best but for two: after the fifth epoch of three steps
    assert callback.losses == pytest.approx(LOSSES)
    for epoch in range(5):  # the weights themselves
        assert torch.equal(module.validated[epoch], module.trained[3 * epoch + 2])
    for epoch in (5, 6):
        mean = torch.stack(module.trained[16 : 3 * epoch + 3]).mean(0)
        torch.testing.assert_close(module.validated[epoch], mean)
    torch.testing.assert_close(module.line.weight.detach(), torch.stack(module.trained[16:]).mean(0))

    reference = Scripted(LOSSES).line
    optimizer: Any = SGD(reference.parameters(), lr=0.1)
    for epoch in range(7):
        if epoch == 5:
            optimizer = ASGD(reference.parameters(), lr=0.1, lambd=0.0, t0=0)
        for x, y in data():
            optimizer.zero_grad()
            (reference(x) - y).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(module.line.weight.detach(), optimizer.state[reference.weight]["ax"])


@pytest.mark.parametrize("epochs", [3, 6])
@pytest.mark.filterwarnings("ignore:.*dirpath has changed")
def test_resumed_is_uninterrupted(epochs: int, tmp_path: Path) -> None:
    straight = Scripted(LOSSES)
    fit(straight, NonMonotonicAveraging(2), 7, tmp_path / "straight")
    fit(Scripted(LOSSES), NonMonotonicAveraging(2), epochs, tmp_path / "first")
    resumed, callback = Scripted(LOSSES), NonMonotonicAveraging(2)
    fit(resumed, callback, 7, tmp_path / "second", ckpt_path=tmp_path / "first/last.ckpt")
    assert torch.equal(straight.line.weight, resumed.line.weight)
    assert torch.equal(straight.trained[-1], resumed.trained[-1])
    assert callback.losses == pytest.approx(LOSSES)


def test_without_the_loss_it_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(MisconfigurationException, match=r"Expected 'val/perplexity' among the metrics but got \['val"):
        fit(Scripted(LOSSES), NonMonotonicAveraging(2, "val/perplexity"), 1, tmp_path)


def test_patience_is_checked() -> None:
    with pytest.raises(ValueError, match="patience"):
        NonMonotonicAveraging(0)
