"""Costs against formulas by hand; the network stays as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.costs import Latency, count_multiply_adds, count_parameters, measure_latency

ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)
SEQUENCE = torch.zeros(1, 5, 8)


class TestMultiplyAdds:
    @pytest.mark.parametrize(
        ("network", "inputs", "expected"),
        [
            (nn.Conv2d(3, 8, 3, padding=1), (torch.zeros(1, 3, 10, 12),), 8 * 3 * 9 * 120),
            (nn.Conv2d(3, 8, 3, padding=1), (torch.zeros(4, 3, 10, 12),), 4 * 8 * 3 * 9 * 120),
            (nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8), (torch.zeros(1, 8, 10, 12),), 8 * 25 * 5 * 6),
            (nn.Conv2d(6, 4, (1, 3), groups=2), (torch.zeros(1, 6, 10, 12),), 4 * 3 * 3 * 10 * 10),
            (nn.Conv2d(3, 8, 3, padding=2, dilation=2), (torch.zeros(1, 3, 10, 12),), 8 * 3 * 9 * 120),
            (nn.Linear(7, 5), (torch.zeros(1, 7),), 35),
            (nn.Linear(7, 5), (torch.zeros(2, 3, 7),), 6 * 35),
            (nn.LSTM(6, 4), (torch.zeros(9, 1, 6),), 9 * 4 * 4 * (6 + 4)),
            (nn.LSTM(6, 4, bidirectional=True), (torch.zeros(9, 1, 6),), 2 * 9 * 4 * 4 * (6 + 4)),
            (ATTENTION, (SEQUENCE, SEQUENCE, SEQUENCE), 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8),
            (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)), (torch.zeros(1, 3, 8, 8),), 0),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_by_hand(self, network: nn.Module, inputs: tuple[Tensor, ...], expected: int) -> None:
        assert count_multiply_adds(network, *inputs) == expected

    def test_attention_in_evaluation_mode(self) -> None:
        """On the CPU its fused path would count nothing."""
        assert count_multiply_adds(ATTENTION.eval(), SEQUENCE, SEQUENCE, SEQUENCE) == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8

    def test_nested_inputs(self) -> None:
        class Pairs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 2)

            def forward(self, first: Tensor, rest: tuple[Tensor, list[Tensor]]) -> Tensor:
                second, (third,) = rest
                output: Tensor = self.layer(first) + self.layer(second) + self.layer(third)
                return output

        x = torch.zeros(1, 4)
        assert count_multiply_adds(Pairs(), x, (x, [x])) == 3 * 8

    def test_inputs_by_name(self) -> None:
        expected = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
        assert count_multiply_adds(ATTENTION, query=SEQUENCE, key=SEQUENCE, value=SEQUENCE) == expected
        assert count_multiply_adds(ATTENTION, SEQUENCE, value=SEQUENCE, key=SEQUENCE, need_weights=False) == expected

    def test_nested_inputs_by_name(self) -> None:
        class Features(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.wide, self.narrow = nn.Linear(4, 3), nn.Linear(2, 3)

            def forward(self, x: Tensor, *, more: dict[str, Any], times: int = 1) -> Tensor:
                output: Tensor = self.wide(x)
                for _ in range(times):
                    output = output + self.narrow(more["first"][0])
                return output

        x, more = torch.zeros(1, 4), {"first": [torch.zeros(1, 2)], "name": "unused"}
        assert count_multiply_adds(Features(), x, more=more) == 12 + 6
        assert count_multiply_adds(Features(), more=more, x=x, times=3) == 12 + 3 * 6
        assert x.device.type == "cpu"

    def test_an_input_by_name_that_is_not_taken(self) -> None:
        with pytest.raises(TypeError, match="mask"):
            count_multiply_adds(nn.Linear(4, 2), torch.zeros(1, 4), mask=None)

    def test_shared_weights_count_at_every_use(self) -> None:
        shared = nn.Linear(4, 4)
        assert count_multiply_adds(nn.Sequential(shared, shared), torch.zeros(1, 4)) == 32

    def test_buffers_that_are_not_saved(self) -> None:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale: Tensor
                self.register_buffer("scale", torch.ones(4), persistent=False)
                self.layer = nn.Linear(4, 2)

            def forward(self, x: Tensor) -> Tensor:
                output: Tensor = self.layer(x * self.scale)
                return output

        assert count_multiply_adds(Scaled(), torch.zeros(1, 4)) == 8

    def test_what_stands_in_several_places_stays_where_it_is(self) -> None:
        """Modules, parameters and statistics: on their device, and tied."""
        linear, norm, embedding = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Embedding(4, 4)
        tied = nn.Linear(4, 4, bias=False)
        tied.weight = embedding.weight
        tied.also = embedding.weight
        network = nn.Sequential(embedding, linear, norm, linear, norm, tied)
        network.alias = nn.Sequential(linear, norm)
        before = {name: id(tensor) for name, tensor in tensors(network)}
        assert count_multiply_adds(network, torch.zeros(1, dtype=torch.int64)) == 4 * 16
        assert {name: id(tensor) for name, tensor in tensors(network)} == before
        assert {tensor.device.type for _, tensor in tensors(network)} == {"cpu"}
        assert tied.weight is embedding.weight is tied.also

    def test_networks_on_the_meta_device(self) -> None:
        with torch.device("meta"):
            network = nn.Linear(7, 5)
        assert count_multiply_adds(network, torch.zeros(1, 7)) == 35


def tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return all parameters and buffers, those in several places several times."""
    parameters = network.named_parameters(remove_duplicate=False)
    return [*parameters, *network.named_buffers(remove_duplicate=False)]


def switches() -> tuple[bool, ...]:
    """Return which fused operators torch may use."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    return torch.backends.mha.get_fastpath_enabled(), *(library.enabled for library in libraries)


class Masked(nn.Module):
    """Holds a tensor that torch does not know of, draws random numbers, and counts its calls."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.mask = torch.ones(1)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Any:
        self.calls += 1
        return self.layers(x * self.mask + torch.rand(1))


class TestRealNumbers:
    """Networks that torch's meta device does not compute: in a real pass the counts are the same."""

    @pytest.mark.parametrize(
        ("layers", "shape", "expected"),
        [
            ([nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)], (1, 3, 10, 12), 8 * 3 * 9 * 120),
            ([nn.LSTM(6, 4, bidirectional=True)], (9, 1, 6), 2 * 9 * 4 * 4 * (6 + 4)),
            ([nn.GRU(6, 4)], (9, 1, 6), 9 * 3 * 4 * (6 + 4)),
            (
                [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)],
                (1, 5, 8),
                4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16,
            ),
        ],
        ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else "",
    )
    def test_by_hand(self, layers: list[nn.Module], shape: tuple[int, ...], expected: int) -> None:
        network, random_state = Masked(*layers), torch.get_rng_state()
        switches_before = switches()
        before = {name: (id(tensor), tensor.clone()) for name, tensor in tensors(network)}
        assert count_multiply_adds(network, torch.zeros(shape)) == expected
        assert count_multiply_adds(network.eval(), torch.zeros(shape)) == expected
        after = {name: (id(tensor), tensor) for name, tensor in tensors(network)}
        assert all(after[name][0] == i and torch.equal(after[name][1], old) for name, (i, old) in before.items())
        assert torch.equal(torch.get_rng_state(), random_state)
        assert switches() == switches_before

    def test_control_flow(self) -> None:
        class Branching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.positive, self.other = nn.Linear(4, 2), nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Any:
                return self.positive(x) if x.sum() > 0 else self.other(x)

        assert count_multiply_adds(Branching(), torch.ones(1, 4)) == 8
        assert count_multiply_adds(Branching(), -torch.ones(1, 4)) == 12

    @pytest.mark.parametrize("real", [False, True])
    def test_what_a_network_keeps_is_forgotten(self, real: bool) -> None:
        class Caching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 4)
                self.register_buffer("late", None)
                self.cache: Tensor | None = None

            def forward(self, x: Tensor) -> Any:
                if self.cache is None:
                    self.cache = self.late = torch.arange(4.0, device=x.device)
                    self.new = x
                return self.layer(x * self.cache * (float(x.sum()) if real else 1))

        network = Caching()
        assert count_multiply_adds(network, torch.ones(1, 4)) == 16
        assert network.cache is None
        assert network.late is None
        assert not hasattr(network, "new")
        assert network(torch.ones(1, 4)).device.type == "cpu"


class TestParameters:
    def test_lazy_layers(self) -> None:
        network = nn.Sequential(nn.LazyLinear(3))
        with pytest.raises(ValueError, match=r"Expected parameters that have a shape but got \['0.weight', '0.bias'\]"):
            count_parameters(network)
        assert count_multiply_adds(network, torch.zeros(1, 2)) == 6
        assert count_parameters(network) == 9

    def test_auxiliary_classifiers_are_left_out(self) -> None:
        network = nn.ModuleDict({"body": nn.Linear(3, 2), "auxiliary": nn.Linear(3, 5)})
        assert count_parameters(network) == 8
        assert count_parameters(network, auxiliary=True) == 8 + 20

    def test_shared_parameters_count_once(self) -> None:
        shared = nn.Linear(3, 2)
        assert count_parameters(nn.Sequential(shared, shared)) == 8

    def test_buffers_do_not_count(self) -> None:
        assert count_parameters(nn.BatchNorm2d(4)) == 8
        assert count_parameters(nn.BatchNorm2d(4, affine=False)) == 0


def partly_frozen() -> nn.Sequential:
    """Return a network in training mode with one part in evaluation mode."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4), nn.Dropout()))
    network[2].eval()
    return network


IMAGES = torch.zeros(2, 3, 8, 8)
MEASURES: list[Callable[[nn.Module], Any]] = [
    lambda network: count_multiply_adds(network, IMAGES),
    lambda network: measure_latency(network, IMAGES, min_seconds=0.001),
]


@pytest.mark.parametrize("measure", MEASURES, ids=["multiply-adds", "latency"])
class TestNetworkIsLeftAlone:
    def test_modes_and_state(self, measure: Callable[[nn.Module], Any]) -> None:
        network = partly_frozen()
        modes = [module.training for module in network.modules()]
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        tensors = [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
        measure(network)
        assert modes == [module.training for module in network.modules()] == [True, True, True, False, False, False]
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
        assert tensors == [id(tensor) for tensor in (*network.parameters(), *network.buffers())]
        assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())

    def test_after_an_error_too(self, measure: Callable[[nn.Module], Any]) -> None:
        network = nn.Sequential(partly_frozen(), nn.Linear(1, 1))
        modes = [module.training for module in network.modules()]
        with pytest.raises(RuntimeError):
            measure(network)
        assert modes == [module.training for module in network.modules()]
        assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


def test_a_counted_lstm_still_computes() -> None:
    network, x = nn.LSTM(6, 4), torch.randn(3, 1, 6)
    before = network(x)[0]
    count_multiply_adds(network, x)
    assert torch.equal(network(x)[0], before)


def test_latency() -> None:
    latency = measure_latency(nn.Flatten(), torch.zeros(3, 2, 2), min_seconds=0.01)
    assert isinstance(latency, Latency)
    assert 0 < latency.seconds < 1
    assert latency.iqr >= 0
    assert (latency.threads, latency.device, latency.batch_size) == (1, "cpu", 3)


def test_latency_runs_the_network_in_evaluation_mode_without_gradients() -> None:
    seen = set()

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.add((self.training, torch.is_grad_enabled(), torch.get_num_threads()))
            return x

    measure_latency(Watched(), torch.zeros(1), threads=2, min_seconds=0.001)
    assert seen == {(False, False, 2)}
