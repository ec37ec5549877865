"""A sweep as somebody who watches it sees it, reduced from its run directory. It never writes, and may come and go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dnlbench.events import (
    EngineEnded,
    EngineStarted,
    Prepared,
    RunHistory,
    RunLeased,
    SlotSetAside,
    fold,
    read_journal_event,
)
from dnlbench.files import LineFollower
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir


@dataclass(frozen=True, kw_only=True)
class SweepView:
    """A sweep at one moment."""

    plan: Plan
    histories: Mapping[str, RunHistory]
    leased: Mapping[str, str]
    """Run id to slot, of the runs that are under way."""
    set_aside: Mapping[str, str]
    """Slot to reason, of the slots that get no more runs."""
    prepared: Prepared | None
    engine_time: float
    """When the last engine began; what ended badly before that is to be done again."""
    eta_s: float | None
    """Seconds to the end at the speed so far; None before anything was done."""

    @property
    def ended(self) -> list[Run]:
        """Runs that have ended, in whatever way, and are not to be done again."""
        return [run for run in self.plan.runs if self._is_over(self.histories[run.run_id])]

    @property
    def not_ok(self) -> list[Run]:
        """Runs that have ended, but not well."""
        ends = {run.run_id: self.histories[run.run_id].ended for run in self.ended}
        return [run for run in self.ended if (end := ends[run.run_id]) and end.status != "ok"]

    def _is_over(self, history: RunHistory) -> bool:
        return history.done or (history.ended is not None and history.ended.time >= self.engine_time)

    @property
    def fraction_done(self) -> float:
        """Share of the whole work."""
        work = self.plan.work
        done = sum(cost * self._run_fraction(self.histories[run_id]) for run_id, cost in work.items())
        return done / sum(work.values())

    def _run_fraction(self, history: RunHistory) -> float:
        """Share of a run that is behind it."""
        if history.ended is not None:
            return float(self._is_over(history))
        return min(1.0, len(history.epochs) / self.plan.spec.epochs)


@dataclass
class Watcher:
    """Follows a run directory. Each look reads only what was added since the last one."""

    run_dir: RunDir
    plan: Plan
    _histories: dict[str, RunHistory] = field(default_factory=dict)
    _followers: dict[str, LineFollower] = field(default_factory=dict)
    _leases: dict[str, RunLeased] = field(default_factory=dict)
    _set_aside: dict[str, str] = field(default_factory=dict)
    _prepared: Prepared | None = None
    _engine_time: float = math.inf
    _fraction_before: float | None = None

    def __post_init__(self) -> None:
        self._journal = LineFollower(self.run_dir.journal_path)
        for run in self.plan.runs:
            self._followers[run.run_id] = LineFollower(self.run_dir.events_path(run.run_id))
            self._histories[run.run_id] = RunHistory()
            self._follow(run.run_id)

    def look(self, now: float) -> SweepView:
        """The sweep at the time ``now``, in seconds since the epoch."""
        for line in self._journal.read():
            match read_journal_event(line):
                case EngineStarted(time=time):
                    self._engine_time = time
                    self._set_aside.clear()
                case Prepared() as prepared:
                    self._prepared = prepared
                case RunLeased() as lease:
                    self._leases[lease.run_id] = lease
                case SlotSetAside(slot=slot, reason=reason):
                    self._set_aside[slot] = reason
                case EngineEnded():
                    self._leases.clear()
        for lease in list(self._leases.values()):
            self._follow(lease.run_id)
            ended = self._histories[lease.run_id].ended
            if ended is not None and ended.time >= lease.time:  # an older end is that of an earlier attempt
                del self._leases[lease.run_id]
        begun = self._prepared.time if self._prepared else self._engine_time
        return self._view(self._time_left(max(0.0, now - begun)))

    def _follow(self, run_id: str) -> None:
        events = self.run_dir.parse_events(run_id, self._followers[run_id].read())
        self._histories[run_id] = fold(events, self._histories[run_id])

    def _time_left(self, elapsed: float) -> float | None:
        done = self._view(None).fraction_done
        if self._fraction_before is None:
            self._fraction_before = done
        gained = done - self._fraction_before
        return elapsed * (1 - done) / gained if gained > 0 else None

    def _view(self, eta: float | None) -> SweepView:
        return SweepView(
            plan=self.plan,
            histories=dict(self._histories),
            leased={run_id: lease.slot for run_id, lease in self._leases.items()},
            set_aside=dict(self._set_aside),
            prepared=self._prepared,
            engine_time=self._engine_time,
            eta_s=eta,
        )
