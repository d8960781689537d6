import json

import pytest

from lightning_nas import stopwatch
from lightning_nas.stopwatch import Stopwatch


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "perf_counter", clock)
    return clock


def test_counts_nothing_before_it_starts(clock: Clock) -> None:
    watch = Stopwatch()
    clock.now += 5
    assert watch.seconds == 0
    watch.stop()
    assert watch.seconds == 0


def test_counts_while_it_runs_and_not_after(clock: Clock) -> None:
    watch = Stopwatch()
    watch.start()
    clock.now += 2
    assert watch.seconds == 2
    watch.stop()
    clock.now += 7
    assert watch.seconds == 2


def test_adds_up_stretches_of_different_numbers_of_devices(clock: Clock) -> None:
    watch = Stopwatch()
    watch.start(devices=4)
    clock.now += 2
    watch.start(devices=3)  # ends the one before
    clock.now += 5
    watch.stop()
    watch.stop()
    watch.start()
    clock.now += 1
    assert watch.seconds == 4 * 2 + 3 * 5 + 1


def test_goes_on_from_a_state_that_is_plain_data(clock: Clock) -> None:
    first, second = Stopwatch(), Stopwatch()
    first.start(devices=2)
    clock.now += 3
    state = json.loads(json.dumps(first.state_dict()))
    clock.now += 50  # an interruption
    second.load_state_dict(state)
    assert second.seconds == 6
    second.start()
    clock.now += 4
    assert second.seconds == 10


def test_a_state_replaces_what_a_running_one_has_counted(clock: Clock) -> None:
    watch = Stopwatch()
    watch.start(devices=2)
    clock.now += 30
    watch.load_state_dict({"seconds": 8.0})
    clock.now += 1
    assert watch.seconds == 10
