"""Computation in full precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Switch autocast and TF32 off: second derivatives are smaller than their rounding."""
    known: Any = torch.backends  # its annotations lag behind
    backends = (known.cuda.matmul, known.cudnn.conv, known.mkldnn.matmul, known.mkldnn.conv)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
