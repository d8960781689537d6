"""Which normalisation an operation uses."""

from collections.abc import Callable
from functools import partial

from torch import nn

Norm = Callable[[int], nn.Module]

# The DARTS search normalises without a learned scale: it would blur the mixture's own weights.
search_norm: Norm = partial(nn.BatchNorm2d, affine=False)
