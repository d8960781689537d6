"""Time of devices at work."""

from time import perf_counter


class Stopwatch:
    """Adds up the device-seconds of several stretches of work: their time, times the devices at work.

    What it counted is kept in its state, so that a resumed run goes on counting.
    """

    def __init__(self) -> None:
        self._counted = 0.0
        self._began: float | None = None
        self._devices = 1

    def start(self, devices: int = 1) -> None:
        """Start a stretch of work, and end the one that runs."""
        self.stop()
        self._began, self._devices = perf_counter(), devices

    def stop(self) -> None:
        """End the stretch that runs, if there is one."""
        self._counted, self._began = self.seconds, None

    @property
    def seconds(self) -> float:
        """Device-seconds so far, those of the stretch that runs included."""
        running = 0.0 if self._began is None else self._devices * (perf_counter() - self._began)
        return self._counted + running

    def state_dict(self) -> dict[str, float]:
        """Return what was counted so far, as plain data."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what another stopwatch had counted; a stretch that runs starts anew."""
        self._counted = state["seconds"]
        if self._began is not None:
            self._began = perf_counter()
