"""Published results beside runs."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lightning_nas.runs.candidate import Candidate
from lightning_nas.runs.measures import DEVICE_DAYS, ERROR, PERPLEXITY

if TYPE_CHECKING:
    from lightning_nas.zoo import PublishedResult


def as_candidates(results: Iterable["PublishedResult"]) -> list[Candidate]:
    """Return published results as points of pictures; test errors stand where the runs have those of validation."""
    candidates = []
    for result in results:
        values = {
            ERROR: result.error,
            PERPLEXITY: result.perplexity,
            "params": result.params,
            "macs": result.macs,
            DEVICE_DAYS: result.gpu_days,
        }
        known = {name: float(value) for name, value in values.items() if value is not None}
        candidates.append(Candidate(f"{result.model}; {result.table}", known))
    return candidates
