from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.methods.batches import batch_size, split_streams


@dataclass
class Batch:
    name: str
    inputs: Tensor
    targets: Tensor


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(5, 2),
        (torch.zeros(5, 2), torch.zeros(7)),
        [torch.zeros(5)],
        {"x": torch.zeros(5, 1), "target": torch.zeros(5)},
        {"names": ["a", "b"], "inputs": {"deep": [torch.zeros(5)]}, "target": torch.zeros(3)},
        ("name", 3, [None, (torch.zeros(5, 5),)]),
        Batch("name", torch.zeros(5, 2), torch.zeros(4)),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_batch_size(batch: Any) -> None:
    assert batch_size(batch) == 5


@pytest.mark.parametrize("batch", [None, [], {"x": "text"}, 5], ids=str)
def test_batches_without_a_tensor(batch: Any) -> None:
    with pytest.raises(TypeError, match=f"tuple, dictionary or dataclass, but got {type(batch).__name__}"):
        batch_size(batch)


def test_numbers_in_a_batch_are_no_examples() -> None:
    assert batch_size({"temperature": torch.tensor(0.5), "x": torch.zeros(5, 2)}) == 5


def test_streams_of_a_search() -> None:
    assert split_streams({"architecture": 1, "weights": 2}) == (2, 1)
    for batch in ({"weights": 1}, (1, 2), {"weights": 1, "architecture": 2, "more": 3}):
        with pytest.raises(MisconfigurationException, match="Expected training batches"):
            split_streams(batch)
