"""What all tests of methods need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

UNAVOIDABLE = (
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning 2.6.6 with torch 2.14, in CombinedLoader
    # Lightning's own fork of processes that hold threads, on Python 3.12 and later
    "ignore:.*multi-threaded, use of fork:DeprecationWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for message in UNAVOIDABLE:
                item.add_marker(pytest.mark.filterwarnings(message))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny networks are faster so, and forked processes do not wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
