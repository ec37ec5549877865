"""Following a run directory from a thread of its own, so that reading never holds up the keyboard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from dnlbench.errors import DnlbenchError, RunDirError
from dnlbench.store import RunDir
from dnlbench.watch import SweepView, Watcher

D = TypeVar("D")
LOOK_S = 0.1
"""Seconds between the end of a look and the next one; a look that took longer is followed by as long a rest."""
IDLE_S = 0.5
"""The same while no engine is at work."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What the last look found."""

    view: SweepView | None = None
    """None as long as nothing could be read."""
    engine: str | None = None
    """Process id of the engine at work; None if there is none."""
    looked: float = 0.0
    """When, in seconds since the epoch."""
    news: float = 0.0
    """When the look before last that found anything new was."""
    problem: str = ""
    """Why the last look failed; then the rest is that of the look before."""


class Feed(Generic[D]):
    """Looks at a run directory ten times a second at most. `latest` may be asked for at any time, from any thread.

    Its thread makes a ``digest`` of each look. The ``clock`` tells seconds since the epoch.
    """

    def __init__(
        self, run_dir: RunDir, digest: Callable[[Snapshot], D], clock: Callable[[], float] = time.time
    ) -> None:
        self.run_dir = run_dir
        self.latest: D | None = None
        self.failure = ""
        """What went wrong with the last look that should not have; empty if nothing did."""
        self._snapshot = Snapshot()
        self._digest = digest
        self._clock = clock
        self._watcher: Watcher | None = None
        self._plan_time = 0.0
        self._ended, self._due = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._due.set()

    def wake(self) -> None:
        self._due.set()

    def look(self) -> D:
        """One look, in the thread that asks; `latest` is what it found."""
        now = self._clock()
        try:
            self._snapshot = self._seen(now)
        except (DnlbenchError, OSError) as error:
            self._snapshot = replace(self._snapshot, problem=str(error), looked=now)
        self.latest = self._digest(self._snapshot)
        return self.latest

    def _seen(self, now: float) -> Snapshot:
        plan_time = self._read_plan_time()
        if self._watcher is None or plan_time != self._plan_time:  # a sweep may be extended while it is watched
            self._watcher = Watcher(self.run_dir, self.run_dir.read_plan())
            self._plan_time = plan_time
        engine = self.run_dir.engine()  # asked first: what it did last is seen then
        view = self._watcher.poll(now)
        before = self._snapshot
        changed = before.view is None or _marks(before.view) != _marks(view)
        return Snapshot(view=view, engine=engine, looked=now, news=now if changed else before.news)

    def _read_plan_time(self) -> float:
        try:
            return self.run_dir.sweep_path.stat().st_mtime
        except FileNotFoundError as error:
            there = "no longer there" if self._watcher else "not a run directory: it has no sweep.json"
            raise RunDirError(f"{self.run_dir.root}: {there}") from error

    def _follow(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            self._due.clear()
            try:
                self.look()
                self.failure = ""
            except Exception as error:  # a bug: what was seen before stays, and the next look may go better
                self.failure = f"{type(error).__name__}: {error}"
            rest = LOOK_S if self._snapshot.engine else IDLE_S
            self._due.wait(max(rest, time.monotonic() - begun))


def _marks(view: SweepView) -> list[int]:
    """Differ whenever a run has gone on: histories are replaced, never changed."""
    return list(map(id, view.histories.values()))
