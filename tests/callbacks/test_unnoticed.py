from collections import deque
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.callbacks.unnoticed import Unnoticed
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
        self.again = self.metric

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
        self.log("not inside of a Trainer's loop", 1.0)


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
    }


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_everything_is_as_before() -> None:
    module = Module()
    before, queue, metric, random = facts(module), module.queue, module.metric, torch.get_rng_state()
    unnoticed = Unnoticed()
    for _ in range(2):
        with unnoticed(module, seed=1):
            module.change()
            assert float(module.metric.compute()) == 3.5  # a metric, of this call only
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

    with pytest.raises(KeyError), Unnoticed()(module, seed=1):
        fail()
    assert_same(facts(module), before)


def test_random_numbers_inside_come_from_the_seed() -> None:
    module = Module()
    drawn: list[float] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + len(drawn))
        with Unnoticed()(module, seed):
            drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_weight_that_is_changed_is_named() -> None:
    module = Module()
    with pytest.raises(MisconfigurationException, match="it changed 'weight'"), Unnoticed()(module, seed=1):
        nn.init.ones_(module.weight)
