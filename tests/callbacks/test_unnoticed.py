from collections import deque
from importlib import import_module
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import StepLR
from torchmetrics import MeanMetric

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.callbacks.unnoticed import unnoticed
from lightning_nas.testing.search_module import assert_same


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.trainer = pl.Trainer(logger=False, accelerator="cpu")
        self.weight = nn.Parameter(torch.zeros(2))
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("queue", torch.zeros(3))
        self.queue: Tensor
        self.items = [1]
        self.recent = deque([1, 2], maxlen=2)
        self.names = {"a"}
        self.nested: dict[str, Any] = {"x": {"y": [1]}}
        self.nested["itself"] = self.nested
        self.child: Any = nn.ReLU()
        self.count = 0
        self.total = torch.zeros(())
        self.metric = MeanMetric()
        self.metric.update(1.0)
        self.again = self.metric
        self.unregistered: dict[str, Any] = {"one": MeanMetric(), "more": [MeanMetric()]}
        self.array = np.zeros(2)
        self.read_only = np.zeros(2)
        self.read_only.flags.writeable = False
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.first, self.second = torch.Generator().manual_seed(1), np.random.default_rng(1)
        self.third, self.legacy = Random(1), np.random.RandomState(1)

    def change(self) -> None:
        self.norm(torch.randn(4, 2))
        self.queue[0] = 5.0
        self.queue = torch.ones(3)
        self.items.append(2)
        self.recent.append(3)
        self.names.add("b")
        self.nested["x"]["y"].append(2)
        self.nested["z"] = 0
        self.child.seen = True
        self.child.inplace = True
        self.count += 1
        self.total += 1
        self.new = 1
        self.metric.update(3.0)
        self.again.update(4.0)
        for metric in (self.unregistered["one"], self.unregistered["more"][0]):
            metric.update(2.0)
        self.array += 1
        self.drawn = self.draw()
        self.log("not inside of a Trainer's loop", 1.0)

    def draw(self) -> list[float]:
        first = float(torch.rand((), generator=self.first))
        return [first, self.second.random(), self.third.random(), self.legacy.rand()]


def facts(module: Module) -> dict[str, Any]:
    own = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return {
        **own,
        "attributes": set(vars(module)),
        "child": dict(vars(module.child)),
        "items": [list(module.items), list(module.recent), set(module.names), module.count],
        "nested": [sorted(module.nested), module.nested["x"]["y"][:]],
        "total": module.total.clone(),
        "metric": module.metric.mean_value.clone(),
        "unregistered": [module.unregistered["one"]._update_count, module.unregistered["more"][0].weight.clone()],
        "array": module.array.tolist(),
        "generators": [
            module.first.get_state(),
            module.second.bit_generator.state,
            module.third.getstate(),
            str(module.legacy.get_state()),
        ],
    }


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_everything_is_as_before() -> None:
    module = Module()
    before, queue, metric, random = facts(module), module.queue, module.metric, torch.get_rng_state()
    for _ in range(2):
        with unnoticed(module, seed=1):
            module.change()
            assert float(module.metric.compute()) == pytest.approx((1 + 3 + 4) / 3)
        assert_same(facts(module), before)
        assert module.queue is queue
        assert module.metric is module.again is metric
        assert torch.equal(torch.get_rng_state(), random)
    assert "log" not in vars(module)


def test_everything_is_as_before_when_the_call_fails() -> None:
    module = Module()
    before = facts(module)

    def fail() -> None:
        module.change()
        raise KeyError

    with pytest.raises(KeyError), unnoticed(module, seed=1):
        fail()
    assert_same(facts(module), before)


def test_random_numbers_inside_come_from_the_seed() -> None:
    module = Module()
    drawn: list[float] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + len(drawn))
        with unnoticed(module, seed):
            drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_weight_that_is_changed_is_named() -> None:
    module = Module()
    with pytest.raises(MisconfigurationException, match="it changed 'weight'"), unnoticed(module, seed=1):
        nn.init.ones_(module.weight)


def with_optimizer() -> tuple[Module, Optimizer, StepLR]:
    module = Module()
    optimizer = SGD([module.weight], lr=1.0)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    config: Any = import_module(f"{pl.__name__}.utilities.types").LRSchedulerConfig
    module.trainer.strategy.connect(module)
    module.trainer.strategy.optimizers = [optimizer]
    module.trainer.strategy.lr_scheduler_configs = [config(scheduler)]
    return module, optimizer, scheduler


@pytest.mark.parametrize("what", ["lr_schedulers", "optimizers"])
def test_nothing_can_step(what: str) -> None:
    module, optimizer, scheduler = with_optimizer()
    module.weight.grad = torch.ones(2)
    name = {"lr_schedulers": "StepLR", "optimizers": "SGD"}[what]
    message = rf"but it called {name}.step\(\); .* give DifferentiableSearch\(loss=...\)"
    with pytest.raises(MisconfigurationException, match=message), unnoticed(module, seed=1):
        getattr(module, what)().step()
    assert scheduler.last_epoch == 0
    assert module.weight.tolist() == [0, 0]
    optimizer.step()
    scheduler.step()
    assert module.weight.tolist() == [-1, -1]
    assert scheduler.get_last_lr() == [0.5]


def test_optimisers_and_schedulers_can_be_read() -> None:
    module, *_ = with_optimizer()
    reader: Any = module
    with unnoticed(module, seed=1):
        assert reader.optimizers().param_groups[0]["lr"] == 1.0
        assert reader.lr_schedulers().get_last_lr() == [1.0]
