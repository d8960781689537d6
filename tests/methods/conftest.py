"""What all tests of methods need."""

from pathlib import Path

import pytest

UNAVOIDABLE = (
    "ignore:.*does not have many workers",
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for message in UNAVOIDABLE:
                item.add_marker(pytest.mark.filterwarnings(message))
