"""The state of a sweep, reduced from the events of its run directory, for engines, screens, commands and profiles.

`SweepState` contains the journal; `SweepView` adds the runs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dnlbench.events import (
    CommandDone,
    EngineEnded,
    EngineStarted,
    JournalEvent,
    PauseState,
    Prepared,
    RunHistory,
    RunLeased,
    RunReturned,
    RunStarted,
    SlotDisabled,
)
from dnlbench.machine import Sources
from dnlbench.plan import Plan, Run

Jobs = Mapping[str, tuple[RunLeased, ...]]


@dataclass(frozen=True, kw_only=True)
class SweepState:
    """The state according to the journal."""

    engines: tuple[EngineStarted, ...] = ()
    worked: tuple[EngineStarted, ...] = ()
    """Engines that assigned at least one run to a worker."""
    preparations: tuple[Prepared, ...] = ()
    given: Jobs = field(default_factory=dict)
    """Unreturned leases by slot of the last engine: one run, or the runs of a pack."""
    disabled_slots: Mapping[str, str] = field(default_factory=dict)
    """Reasons by slot of the last engine, for slots that get no more runs."""
    lost: tuple[RunReturned, ...] = ()
    """Runs that were returned after a failure in the last engine."""
    pause_state: PauseState = field(default_factory=PauseState)
    last_command: CommandDone | None = None
    engine_ended: EngineEnded | None = None
    """The last event of the last engine; None while it is running, and if it was killed."""

    @property
    def engine(self) -> EngineStarted | None:
        return self.engines[-1] if self.engines else None

    @property
    def engine_time(self) -> float:
        """Start time of the last engine. Unsuccessful runs that ended earlier are executed again."""
        return self.engine.time if self.engine else math.inf

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots of the last engine."""
        return self.engine.slots if self.engine else ()

    @property
    def machine(self) -> str | None:
        """Fingerprint of the last engine's machine."""
        return self.engine.machine.fingerprint if self.engine else None

    @property
    def prepared(self) -> Prepared | None:
        return self.preparations[-1] if self.preparations else None

    @property
    def has_worked(self) -> bool:
        return bool(self.worked) and self.worked[-1] is self.engine

    @property
    def session(self) -> str | None:
        """The paired benchmark that all engines with assigned runs belong to, if it is the same for all of them."""
        sessions = {engine.session for engine in self.worked}
        return sessions.pop() if len(sessions) == 1 else None

    @property
    def code(self) -> Sources:
        """The code of custom parts, from all engines together."""
        return functools.reduce(Sources.joined, (prepared.code for prepared in self.preparations), Sources())

    @property
    def leases(self) -> dict[str, RunLeased]:
        """The latest leases by run id."""
        return {lease.run_id: lease for job in self.given.values() for lease in job}

    def after(self, event: JournalEvent) -> SweepState:
        state = (
            self
            if (pause_state := self.pause_state.after(event)) is self.pause_state
            else replace(self, pause_state=pause_state)
        )
        match event:
            case EngineStarted():
                return replace(
                    state,
                    engines=(*state.engines, event),
                    given={},
                    disabled_slots={},
                    lost=(),
                    last_command=None,
                    engine_ended=None,
                )
            case Prepared():
                return replace(state, preparations=(*state.preparations, event))
            case RunLeased():
                return state._with_lease(event)
            case RunReturned(run_id=run_id, slot=slot, error=error):
                left = tuple(lease for lease in state.given.get(slot, ()) if lease.run_id != run_id)
                lost = state.lost if error is None else (*state.lost, event)
                return replace(state, given={**state.given, slot: left}, lost=lost)
            case SlotDisabled(slot=slot, reason=reason):
                return replace(state, disabled_slots={**state.disabled_slots, slot: reason})
            case CommandDone():
                return replace(state, last_command=event)
            case EngineEnded():
                return replace(state, given={}, engine_ended=event)
        return state

    def _with_lease(self, lease: RunLeased) -> SweepState:
        """Add a lease. Leases of a slot with the same time are a pack."""
        together = self.given.get(lease.slot, ())
        job = (*together, lease) if together and together[0].time == lease.time else (lease,)
        new = self.engine is not None and not self.has_worked
        worked = (*self.worked, *self.engines[-1:]) if new else self.worked
        return replace(self, given={**self.given, lease.slot: job}, worked=worked)


def fold_journal(events: Iterable[JournalEvent]) -> SweepState:
    """Return the state after all events of a journal."""
    return functools.reduce(SweepState.after, events, SweepState())


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """Estimates of the remaining time."""

    sweep_s: float | None = None
    """None until something has completed, and while everything is paused."""
    runs_s: Mapping[str, float] = field(default_factory=dict)
    """Estimates by run id, for running runs."""


@dataclass(frozen=True, kw_only=True)
class SweepView(SweepState):
    """A sweep at one moment."""

    plan: Plan
    histories: Mapping[str, RunHistory]
    """Histories by run id, for the requested number of epochs."""
    leased: Mapping[str, str]
    """Slots by run id, for running runs."""
    time_left: TimeLeft = field(default_factory=TimeLeft)
    last_started: Mapping[str, RunStarted] = field(default_factory=dict)
    """The run that the last engine most recently started on each slot of a cluster, which names the node. A slot may move to
    another node between two runs."""

    @property
    def jobs(self) -> Mapping[str, tuple[Run, ...]]:
        """Busy slot to its run or batched seeds, in the order of the plan."""
        jobs: dict[str, tuple[Run, ...]] = {}
        for run in self.plan.runs:
            if run.run_id in self.leased:
                slot = self.leased[run.run_id]
                jobs[slot] = (*jobs.get(slot, ()), run)
        return jobs

    @property
    def ended(self) -> list[Run]:
        return [run for run in self.plan.runs if self.is_over(run)]

    @property
    def not_ok(self) -> list[Run]:
        ends = {run.run_id: self.histories[run.run_id].ended for run in self.ended}
        return [run for run in self.ended if (end := ends[run.run_id]) and end.status != "ok"]

    def node_of(self, run: Run) -> str | None:
        """Return the name of the run's current or last node; None on a single machine, or before the run has started."""
        started = self.histories[run.run_id].started
        if run.run_id in self.leased:
            seat = self.last_started.get(self.leased[run.run_id])
            started = seat if seat is not None and seat.run_id == run.run_id else None
        return started.node.name if started is not None and started.node is not None else None

    def is_over(self, run: Run) -> bool:
        """Return True if a run has ended, successfully or not, and will not be executed again."""
        history = self.histories[run.run_id]
        return history.done or (history.ended is not None and history.ended.time >= self.engine_time)

    @property
    def fraction_done(self) -> float:
        work = self.plan.work
        return sum(work[run.run_id] * self._run_fraction(run) for run in self.plan.runs) / sum(work.values())

    def _run_fraction(self, run: Run) -> float:
        history = self.histories[run.run_id]
        if history.ended is not None:
            return float(self.is_over(run))
        return min(1.0, history.epochs_done / run.epochs)
