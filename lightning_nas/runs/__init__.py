"""Runs on this machine: reading them, and comparing them with no account and no network."""

from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.comparing import compare
from lightning_nas.runs.comparison import Comparison
from lightning_nas.runs.read import read_runs
from lightning_nas.runs.run import Run

__all__ = ["Candidate", "Comparison", "Run", "compare", "read_runs"]
