"""A remote worker that has no worker: what it reports is made up, as fast as it is told to."""

from __future__ import annotations

import time

from dnlbench.events import DataInfo, EpochDone, Prepared, RunStarted
from dnlbench.executor.base import Attempts
from dnlbench.executor.ray.messages import Placement, Report, ResumeStates, RunUpdate, WorkerConfig
from dnlbench.machine import Slot

PREPARED = Prepared(
    data=DataInfo(name="none", sha256="", samples=1, input_shape=(1, 1, 1), classes=2), torch="none", device_name="x"
)


class MadeUpWorker:
    """Its run never ends."""

    reports_per_s: float
    """0 for as many as it is asked for."""
    epochs: int
    """In each report."""

    def __init__(self, config: WorkerConfig, slot: Slot) -> None:
        self._slot = slot
        self._told = 0
        self._due = time.monotonic()

    def describe(self) -> Placement:
        """Wherever it is."""
        return Placement(slot=self._slot, sees_run_dir=False)

    def prepare(self) -> Prepared:
        """Nothing is found out."""
        return PREPARED

    def take_over(self, prepared: Prepared) -> None:
        """There is no worker to tell."""

    def start(self, attempts: Attempts, states: ResumeStates) -> None:
        """A run that goes on for ever."""
        ((self._run_id, self._attempt),) = attempts.items()
        started = RunStarted(
            run_id=self._run_id, attempt=self._attempt, device="cpu", device_name="x", threads=1, parameters=1
        )
        self._lines = [started.model_dump_json(exclude_none=True).encode()]
        self._told = 0
        self._due = time.monotonic()

    def poll(self, timeout_s: float) -> Report:
        """A report of so many epochs when it is due."""
        if self.reports_per_s:
            self._due += 1 / self.reports_per_s
            time.sleep(max(0.0, self._due - time.monotonic()))
        updates = (self._update(),) if hasattr(self, "_lines") else ()
        return Report(time=time.time(), is_warm=True, is_ready=True, heartbeat_age_s=0.1, updates=updates)

    def _update(self) -> RunUpdate:
        lines, self._lines = [*self._lines, *(self._line(place) for place in range(self.epochs))], []
        first, self._told = self._told, self._told + len(lines)
        return RunUpdate(
            run_id=self._run_id, attempt=self._attempt, first=first, lines=tuple(lines), log_from=0, log=b""
        )

    def _line(self, place: int) -> bytes:
        done = EpochDone(
            run_id=self._run_id,
            epoch=self._told + place + 1,
            train_loss=2.3 / (place + 1),
            seconds=1.0,
            samples_per_s=1797.0,
            gradient_norm=1.0,
        )
        return done.model_dump_json(exclude_none=True).encode()

    def close(self) -> None:
        """Nothing is left behind."""
