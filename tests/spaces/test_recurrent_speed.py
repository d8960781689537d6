"""The benchmark of the recurrent search step, in a size that takes no time."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.recurrent_speed import PLAIN, Step, difference, main

SIZES = {"texts": 4, "steps": 2, "hidden": 4, "vocabulary": 5, "nodes": 2}


def test_all_forms_compute_the_same_gradients() -> None:
    step = Step(**SIZES)
    assert difference(step, {"ours": step.ours, "node": step.plain("node")}) < 1e-4
    alphas = [step.whole(step.plain(products))[-1] for products in PLAIN]
    for found in alphas[1:]:
        torch.testing.assert_close(found, alphas[0], rtol=1e-4, atol=1e-8)


def test_the_numbers_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    words = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]
    code = main([*words, "--repeats", "1", "--threads", "1", "--json", str(tmp_path / "speed.json")])
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["ratio"] == found["plain_seconds"] / found["ours_seconds"] == found["ratios"]["step"]["operation"]
    assert code == (0 if found["ratio"] >= 3 else 1)
    assert set(found["ratios"]["recurrent"]) == set(PLAIN)
    assert {name: found[name] for name in SIZES} == SIZES
