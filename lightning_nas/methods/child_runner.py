"""What becomes of the child that a process trains."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from lightning_nas._lightning import MisconfigurationException
from lightning_nas.methods.child import Child
from lightning_nas.methods.child_record import ChildRecord, Status
from lightning_nas.methods.epoch_metrics import EpochMetrics
from lightning_nas.strategies.proposal import Proposal

ERROR_LENGTH = 1000  # characters of a message that are kept

T = TypeVar("T")


class ChildRunner:
    """Holds the child of this process until its end, and then its record until those of the others have ended.

    A child whose building, training or validation raises an error has failed: the error is kept in its record.

    Args:
        epoch_metrics: Metrics of the epoch under way, by stage.
        window: A child's score is the best objective of so many last epochs.

    Attributes:
        child: Under training.
        record: What has become of it.
        search: Tells children of searches with different settings apart.
    """

    def __init__(self, epoch_metrics: Mapping[str, EpochMetrics], window: int) -> None:
        self.epoch_metrics = epoch_metrics
        self.window = window
        self.child: Child | None = None
        self.record: ChildRecord | None = None
        self.search = ""

    def begin(
        self,
        proposal: Proposal,
        known: ChildRecord | None,
        state: dict[str, Any] | None,
        build: Callable[[Proposal], Child],
    ) -> None:
        """Build a child, or go on with what is known of it.

        Args:
            proposal: What the strategy has proposed.
            known: Its record, if it has ended.
            state: Of a checkpoint, if it was under way.
            build: Makes a child.
        """
        if known is not None or (state is not None and "record" in state):
            self.record = known or ChildRecord.from_dict((state or {})["record"])
            return
        try:
            self.child = build(proposal)
        except MisconfigurationException:  # not the child's fault: the next one would have it, too
            raise
        except Exception as error:
            self._keep(ChildRecord(proposal.number, proposal.architecture, "failed", error=_text(error)))
            return
        if state is not None:
            self.child.load_state_dict(state)

    def attempt(self, action: Callable[[Child], T]) -> T | None:
        """Do something with the child under training; if that raises an error, the child has failed."""
        if self.child is None:
            return None
        try:
            return action(self.child)
        except Exception as error:
            self._keep(self.child.record("failed", self.window, _text(error)))
            return None

    def end(self, status: Status, found: Mapping[str, Any]) -> None:
        """End the child under training.

        Args:
            status: How it has ended.
            found: What it has found besides its score, as plain JSON data.
        """
        assert self.child is not None
        self._keep(replace(self.child.record(status, self.window), found=found))

    def _keep(self, record: ChildRecord) -> None:
        if self.child is not None:
            self.child.drop()
        self.child, self.record = None, replace(record, search=self.search)
        self.reset()

    def reset(self) -> None:
        """Forget what an interrupted epoch has left."""
        for metrics in self.epoch_metrics.values():
            metrics.reset()

    def state_dict(self) -> dict[str, Any] | None:
        """Return what is needed to go on, as plain data and tensors; ``None`` if there is no child."""
        if self.record is not None:
            return {"number": self.record.number, "record": self.record.to_dict()}
        return self.child.state_dict() if self.child else None


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
