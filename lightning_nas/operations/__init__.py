"""Candidate operations of the search spaces."""

from lightning_nas.operations.convolution import OPERATIONS, build_operation
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.operations.factorized_reduce import FactorizedReduce
from lightning_nas.operations.mixed import MixedOperation

__all__ = ["OPERATIONS", "DropPath", "FactorizedReduce", "MixedOperation", "build_operation"]
