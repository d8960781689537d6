"""Built models are plain enough for torch.export and ONNX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.spaces import InputChoice, ModuleSpace, OpChoice, RepeatChoice


def activation() -> OpChoice:
    return OpChoice({"relu": nn.ReLU(), "gelu": nn.GELU()}, key="activation")


def conv(kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4), activation())


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = OpChoice({"conv": OpChoice({"conv1": conv(1), "conv3": conv(3)}), "skip": nn.Identity()})
        self.repeat = RepeatChoice(lambda: conv(3), (0, 1, 2), key="depth")
        self.skips = InputChoice(3, 2, key="skips", reduction="concat")
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        body = self.body(stem)
        output: Tensor = self.head(self.skips([stem, body, self.repeat(body)]).mean((2, 3)))
        return output


def mlp() -> nn.Module:
    blocks = RepeatChoice(lambda: nn.Sequential(nn.Linear(8, 8), activation()), (0, 2), key="depth")
    return nn.Sequential(nn.Linear(4, 8), blocks, nn.Linear(8, 1))


IMAGES = {"body": "conv", "body/conv": "conv3", "activation": "gelu", "depth": 2, "skips/0": 2, "skips/1": 0}
CASES = pytest.mark.parametrize(
    ("factory", "values", "shape"),
    [
        (Images, IMAGES, (2, 3, 8, 8)),
        (Images, {**IMAGES, "body": "skip", "depth": 0}, (2, 3, 8, 8)),
        (mlp, {"activation": "relu", "depth": 2}, (2, 4)),
    ],
    ids=["images", "images-short", "mlp"],
)


def built(factory: Callable[[], nn.Module], values: dict[str, Any], shape: tuple[int, ...]) -> tuple[nn.Module, Tensor]:
    """Return a model in evaluation mode whose BatchNorm has seen data, and an input."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        space, x = ModuleSpace(factory), torch.randn(shape)
        model = space.build(Architecture(space.name, values))
        model(x)
    return model.eval(), x


@CASES
def test_torch_export(factory: Callable[[], nn.Module], values: dict[str, Any], shape: tuple[int, ...]) -> None:
    model, x = built(factory, values, shape)
    exported = torch.export.export(model, (x,))
    assert_close(exported.module()(x + 1), model(x + 1))
    assert exported.state_dict.keys() == model.state_dict().keys()


@CASES
def test_onnx(factory: Callable[[], nn.Module], values: dict[str, Any], shape: tuple[int, ...], tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs lightning-nas[onnx]")
    model, x = built(factory, values, shape)
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: (x + 1).numpy()})
    assert_close(torch.from_numpy(output), model(x + 1), rtol=1e-4, atol=1e-4)
