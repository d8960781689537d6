"""Jobs that have not been asked for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning_nas.strategies.job import Job, JobKind


class JobQueues:
    """Seeds come first, in their order; then hallucinations, then children, the newest of each first."""

    def __init__(self) -> None:
        self._stacks: dict[JobKind, list[Job]] = {"seed": [], "hallucination": [], "child": []}

    @property
    def jobs(self) -> list[Job]:
        """All jobs; their numbers mean nothing yet."""
        return [job for stack in self._stacks.values() for job in stack]

    def push(self, job: Job) -> None:
        """Add a job."""
        stack = self._stacks[job.kind]
        stack.insert(0 if job.kind == "seed" else len(stack), job)

    def pop(self, number: int) -> Job | None:
        """Remove the next job and return it with a number; ``None`` if there is none."""
        stack = next((stack for stack in self._stacks.values() if stack), None)
        return replace(stack.pop(), number=number) if stack else None

    def state_dict(self) -> dict[str, Any]:
        """Return all jobs as plain data."""
        return {kind: [job.to_dict() for job in stack] for kind, stack in self._stacks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._stacks = {kind: [Job.from_dict(data) for data in state[kind]] for kind in self._stacks}
