"""The search network of DARTS: its structure, and the gradient of the mixture's parameters."""

from collections import Counter, defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.operations import MixedOperation
from lightning_nas.spaces import DartsSpace, Mixture
from lightning_nas.spaces.darts_supernet import DartsSupernet, MixedCell, edge_index

SPACE = DartsSpace(nodes=2)


@pytest.fixture(scope="module")
def published() -> nn.Module:
    with torch.device("meta"):
        return DartsSpace().supernet()


class TestStructure:
    def test_layers(self, published: nn.Module) -> None:
        kinds = Counter(type(module).__name__ for module in published.modules())
        assert (kinds["Conv2d"], kinds["BatchNorm2d"]) == (1395, 929)
        assert kinds["ReLU"] + kinds["FactorizedReduce"] == 704  # a FactorizedReduce has its own
        assert kinds["MaxPool2d"] + kinds["AvgPool2d"] == 224
        assert kinds["MixedOperation"] == 8 * 14
        assert sum(len(module) for module in published.modules() if isinstance(module, MixedOperation)) == 896

    def test_only_the_stem_normalises_with_a_learned_scale(self, published: nn.Module) -> None:
        norms = {name: module for name, module in published.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert [name for name, norm in norms.items() if norm.affine] == ["stem.1"]

    def test_stem_has_no_relu(self, published: nn.Module) -> None:
        assert isinstance(published, DartsSupernet)
        assert [type(layer) for layer in published.stem] == [nn.Conv2d, nn.BatchNorm2d]
        assert published.stem.channels == 48

    def test_names_tell_the_place(self, published: nn.Module) -> None:
        state = published.state_dict()
        assert "cells.0.edges.13.dil_conv_5x5.1.weight" in state
        assert "cells.2.edges.0.skip_connect.conv_2.weight" in state  # stride 2
        assert not any("cells.2.edges.4.skip_connect" in name for name in state)  # from node 0 to 1: identity

    @pytest.mark.parametrize(("node", "edges"), [(0, [0, 1]), (1, [2, 3, 4]), (2, [5, 6, 7, 8]), (3, [9, 10, 11])])
    def test_edge_numbers(self, node: int, edges: list[int]) -> None:
        assert [edge_index(node, source) for source in range(len(edges))] == edges

    def test_cell_outputs(self, published: nn.Module) -> None:
        assert isinstance(published, DartsSupernet)
        mixtures = {name: Mixture(torch.zeros(14, 8, device="meta")) for name in ("normal", "reduce")}
        outputs = published.features(torch.zeros(2, 3, 32, 32, device="meta"), mixtures)
        sizes = [(64, 32)] * 2 + [(128, 16)] * 3 + [(256, 8)] * 3
        assert [tuple(output.shape) for output in outputs] == [(2, width, size, size) for width, size in sizes]


class Probe:
    """Runs a supernet and keeps what every mixed place put out, by the cell's kind and the edge."""

    def __init__(self) -> None:
        self.supernet = SPACE.supernet(channels=4, layers=4).double()  # one normal, a reduction, two cells after it
        assert isinstance(self.supernet, DartsSupernet)
        self.outputs: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
        for kind, cell in zip(self.supernet.kinds, self.supernet.cells, strict=True):
            assert isinstance(cell, MixedCell)
            for index, edge in enumerate(cell.edges):
                edge.register_forward_hook(self._keep(kind, index))

    def _keep(self, kind: str, index: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            output.retain_grad()
            self.outputs[kind, index].append(output)

        return hook

    def alphas_after_backward(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        alphas = {
            name: torch.randn(5, 8, generator=generator, dtype=torch.float64).requires_grad_()
            for name in ("normal", "reduce")
        }
        x = torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)
        self.supernet(x, {name: Mixture(table.softmax(1)) for name, table in alphas.items()}).square().sum().backward()
        return alphas


def inner_product(output: Tensor) -> float:
    """Return the sum of an output times its gradient."""
    assert output.grad is not None
    return float((output.grad * output.detach()).sum())


class TestGradientOfAlpha:
    def test_rows_sum_to_zero_and_none_loses_what_the_mean_gains(self) -> None:
        probe = Probe()
        for name, table in probe.alphas_after_backward().items():
            assert table.grad is not None
            assert_close(table.grad.sum(1), torch.zeros(5).double(), rtol=0, atol=1e-10)
            for edge, row in enumerate(table.detach().softmax(1)):
                inner = sum(inner_product(output) for output in probe.outputs[name, edge])
                assert float(table.grad[edge, 0]) == pytest.approx(-float(row[0]) * inner, rel=1e-9, abs=1e-12)

    def test_gradients_add_over_the_cells_of_a_kind(self) -> None:
        probe = Probe()
        probe.alphas_after_backward()
        assert {len(outputs) for outputs in probe.outputs.values()} == {2}
        assert len(probe.outputs) == 10


def test_mixture_weights_scale_the_candidates() -> None:
    supernet = SPACE.supernet(channels=4, layers=3)
    x = torch.randn(2, 3, 16, 16)
    none = {name: Mixture(torch.zeros(5, 8)) for name in ("normal", "reduce")}
    bias = supernet.state_dict()["classifier.bias"]
    assert_close(supernet(x, none), bias.expand(2, 10))
