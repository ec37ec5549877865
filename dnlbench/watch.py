"""A sweep as somebody who watches it sees it, reduced from its run directory. It never writes, and may come and go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from dnlbench.errors import RunDirError
from dnlbench.events import (
    CommandDone,
    EngineEnded,
    EngineStarted,
    Holds,
    JournalEvent,
    Prepared,
    RunHistory,
    RunLeased,
    RunReturned,
    RunStarted,
    SlotSetAside,
)
from dnlbench.files import LineFollower
from dnlbench.forecast import Forecast, Task, pack, schedule
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

E = TypeVar("E")
MOST_EPOCHS = 4096
"""Of a run of more, only a choice is kept, so that memory stays bounded; see `dnlbench.events.Epochs.thinned`."""
FORECAST_S = 1.0
"""Seconds between two forecasts, per `FORECAST_RUNS` of the sweep: they move slowly, and a large sweep's takes a while."""
FORECAST_RUNS = 2000


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """What is expected."""

    sweep_s: float | None = None
    """None as long as nothing was done, and while everything is paused."""
    runs_s: Mapping[str, float] = field(default_factory=dict)
    """By run id, of the runs that are under way."""


@dataclass(frozen=True, kw_only=True)
class SweepView:
    """A sweep at one moment."""

    plan: Plan
    histories: Mapping[str, RunHistory]
    leased: Mapping[str, str]
    """Run id to slot, of the runs that are under way."""
    slots: tuple[str, ...]
    """Of the last engine."""
    set_aside: Mapping[str, str]
    """Slot to reason, of the slots that get no more runs."""
    lost: tuple[RunReturned, ...]
    """Runs that the last engine lost and tries again."""
    holds: Holds
    """What is paused."""
    prepared: Prepared | None
    engine_time: float
    """When the last engine began; what ended badly before that is to be done again."""
    engine_ended: EngineEnded | None
    """The last engine's last word; None while it is at work, and if it was killed."""
    time_left: TimeLeft
    machine: str | None = None
    """Fingerprint of the last engine's machine; None as long as there was none."""
    seats: Mapping[str, RunStarted] = field(default_factory=dict)
    """Slot to the run that the last engine had begun there last, of slots on a cluster: it names the node. A slot may be moved
    to another node between two runs."""

    @property
    def jobs(self) -> Mapping[str, tuple[Run, ...]]:
        """Slot to what is under way there: a run, or those of a pack, in the order of the plan."""
        found: dict[str, tuple[Run, ...]] = {}
        for run in self.plan.runs:
            if run.run_id in self.leased:
                slot = self.leased[run.run_id]
                found[slot] = (*found.get(slot, ()), run)
        return found

    @property
    def ended(self) -> list[Run]:
        """Runs that have ended, in whatever way, and are not to be done again."""
        return [run for run in self.plan.runs if self.is_over(run)]

    @property
    def not_ok(self) -> list[Run]:
        """Runs that have ended, but not well."""
        ends = {run.run_id: self.histories[run.run_id].ended for run in self.ended}
        return [run for run in self.ended if (end := ends[run.run_id]) and end.status != "ok"]

    def node_of(self, run: Run) -> str | None:
        """Name of the node that a run is on, or was last; None on one machine, and for one that has not begun there yet."""
        started = self.histories[run.run_id].started
        if run.run_id in self.leased:
            seat = self.seats.get(self.leased[run.run_id])
            started = seat if seat is not None and seat.run_id == run.run_id else None
        return started.node.name if started is not None and started.node is not None else None

    def is_over(self, run: Run) -> bool:
        """Whether a run has ended, in whatever way, and is not to be done again."""
        return self._is_over(self.histories[run.run_id])

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
        return min(1.0, history.laps_done / self.plan.spec.epochs)


class Watcher:
    """Follows a run directory. Each look reads only what was added since the last one."""

    def __init__(self, run_dir: RunDir, plan: Plan) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._journal = LineFollower(run_dir.journal_path)
        self._followers = {run.run_id: LineFollower(run_dir.events_path(run.run_id)) for run in plan.runs}
        self._histories = {run.run_id: RunHistory() for run in plan.runs}
        self._asked = dict(self._histories)
        """The same for the epochs that are asked for. A history that has not changed is the very same object."""
        self._leases: dict[str, RunLeased] = {}
        self._jobs: dict[str, tuple[RunLeased, ...]] = {}
        """What each slot was given last, that included which has ended."""
        self._slots: tuple[str, ...] = ()
        self._pack_size = 1
        self._set_aside: dict[str, str] = {}
        self._lost: list[RunReturned] = []
        self._holds = Holds()
        self._prepared: Prepared | None = None
        self._machine: str | None = None
        self._seats: dict[str, RunStarted] = {}
        self._engine_time = math.inf
        self._engine_ended: EngineEnded | None = None
        self._forecast = Forecast(plan)
        self._forecast_s = FORECAST_S * max(1.0, len(plan.runs) / FORECAST_RUNS)
        self._unlearned: dict[tuple[str, int], tuple[RunLeased, RunHistory]] = {}
        """By run and attempt what was looked at since the last forecast."""
        self._time_left, self._foretold = TimeLeft(), -math.inf
        self._problem: RunDirError | None = None
        for run in plan.runs:
            self._follow(run)

    def look(self, now: float) -> SweepView:
        """The sweep at the time ``now``, in seconds since the epoch.

        Raises:
            RunDirError: for a line that was added and is no event that this version reads. It is passed over: the next look
                goes on behind it.
        """
        self._problem = None
        lines = self._journal.read()
        for event in self._passing_over(self._run_dir.parse_journal, lines, self._journal.passed):
            self._heed(event)
        for lease in list(self._leases.values()):
            self._look_at(lease)
        if self._problem is not None:
            raise self._problem
        if now - self._foretold >= self._forecast_s:
            self._foretold, self._time_left = now, self._foretell(now)
        return SweepView(
            plan=self._plan,
            histories=dict(self._asked),
            leased={run_id: lease.slot for run_id, lease in self._leases.items()},
            slots=self._slots,
            set_aside=dict(self._set_aside),
            lost=tuple(self._lost),
            holds=self._holds,
            prepared=self._prepared,
            engine_time=self._engine_time,
            engine_ended=self._engine_ended,
            time_left=self._time_left,
            machine=self._machine,
            seats=dict(self._seats),
        )

    def _heed(self, event: JournalEvent) -> None:
        self._holds = self._holds.after(event)
        match event:
            case EngineStarted(time=time, slots=slots, machine=machine, pack_size=pack_size):
                self._drop_leases()
                self._engine_time, self._engine_ended, self._slots = time, None, slots
                self._machine, self._pack_size = machine.fingerprint, pack_size
                self._set_aside.clear()
                self._lost.clear()
                self._seats.clear()
            case Prepared() as prepared:
                self._prepared = prepared
            case RunLeased() as lease:
                self._give(lease)
            case RunReturned(run_id=run_id, slot=slot, error=error) as returned:
                self._jobs[slot] = tuple(lease for lease in self._jobs.get(slot, ()) if lease.run_id != run_id)
                if self._leases.pop(run_id, None) is not None:
                    self._follow(self._plan.by_id[run_id])
                if error is not None:
                    self._lost.append(returned)
            case SlotSetAside(slot=slot, reason=reason):
                self._set_aside[slot] = reason
            case CommandDone(command=command) if command.action in ("cancel", "retry"):
                for run in self._plan.runs:  # some of them may have come to events without a lease
                    if run.run_id in command.run_ids or self._histories[run.run_id].ended is not None:
                        self._follow(run)
            case EngineEnded() as ended:
                self._drop_leases()
                self._engine_ended = ended

    def _give(self, lease: RunLeased) -> None:
        """Runs that a slot is given at the same time are a pack."""
        together = self._jobs.get(lease.slot, ())
        if not together or together[0].time != lease.time:
            self._drop_leases(lease.slot)
            together = ()
        self._jobs[lease.slot] = (*together, lease)
        if lease.run_id in self._histories:  # an earlier sweep of the directory may have had other runs
            self._leases[lease.run_id] = lease

    def _drop_leases(self, slot: str | None = None) -> None:
        """What a slot had is over when it gets something else, and with an engine what all of its slots had."""
        given = self._leases.values() if slot is None else self._jobs.get(slot, ())
        for lease in list(given):
            if self._leases.get(lease.run_id) is lease:
                self._look_at(lease)
                self._leases.pop(lease.run_id, None)

    def _look_at(self, lease: RunLeased) -> None:
        """Follows a run that is under way, until it has ended."""
        self._follow(self._plan.by_id[lease.run_id])
        history = self._histories[lease.run_id]
        started = history.started
        if started is not None and started.attempt == lease.attempt:  # it may have been leased again since
            self._unlearned[lease.run_id, lease.attempt] = lease, history
            if started.node is not None:
                self._seats[lease.slot] = started
        if history.ended is not None and history.ended.time >= lease.time:  # an older end is that of an earlier attempt
            del self._leases[lease.run_id]

    def _follow(self, run: Run) -> None:
        lines = self._followers[run.run_id].read()
        if lines:
            history = self._folded(run, lines)
            if len(history.epochs) > MOST_EPOCHS:
                history = replace(history, epochs=history.epochs.thinned(MOST_EPOCHS))
            self._histories[run.run_id], self._asked[run.run_id] = history, history.asked_for(run.epochs)

    def _folded(self, run: Run, lines: Sequence[bytes]) -> RunHistory:
        before = self._histories[run.run_id]
        try:
            return self._run_dir.fold_events(run.run_id, lines, before)
        except RunDirError:
            for number, line in enumerate(lines, start=self._followers[run.run_id].passed + 1):
                try:
                    before = self._run_dir.fold_events(run.run_id, [line], before, number)
                except RunDirError as error:
                    self._problem = self._problem or error
            return before

    def _passing_over(
        self, parse: Callable[[Sequence[bytes], int], list[E]], lines: Sequence[bytes], passed: int
    ) -> Iterator[E]:
        """What the lines mean, but for those that mean nothing; what is wrong with the first such is kept."""
        for number, line in enumerate(lines, start=passed + 1):
            try:
                yield from parse([line], number)
            except RunDirError as error:
                self._problem = self._problem or error

    def _history(self, run: Run) -> RunHistory:
        return self._asked[run.run_id]

    def _foretell(self, now: float) -> TimeLeft:
        """The time left, if the scheduler goes on as it does: the longest task first, each to where it ends first."""
        self._learn()
        if not self._forecast.known:
            return TimeLeft()
        runs_s = {run_id: self._run_left_s(lease, now) for run_id, lease in self._leases.items()}
        free_in_s = {slot: 0.0 for slot in self._slots if slot not in self._set_aside and not self._holds.on_slot(slot)}
        busy: dict[str, float] = {}
        for run_id, lease in self._leases.items():
            busy[lease.slot] = max(busy.get(lease.slot, 0.0), runs_s[run_id])
        waiting = [task for run in self._plan.runs if (task := self._waiting(run)) is not None]
        packs = pack(waiting, self._pack_size, alone={lost.run_id for lost in self._lost})
        seconds = schedule(self._forecast, packs, {**free_in_s, **busy}).seconds
        return TimeLeft(
            sweep_s=seconds if math.isfinite(seconds) and not self._holds.everything else None, runs_s=runs_s
        )

    def _learn(self) -> None:
        for lease, history in self._unlearned.values():
            self._forecast.observe(self._plan.by_id[lease.run_id], lease.slot, lease.time, history)
        self._unlearned.clear()

    def _run_left_s(self, lease: RunLeased, now: float) -> float:
        run = self._plan.by_id[lease.run_id]
        history = self._history(run)
        together = len(self._jobs[lease.slot])
        task = Task(runs=(run,) * together, epochs=max(0, run.epochs - history.laps_done))
        last = history.laps[-1].time if history.laps else lease.time
        since = now - max(lease.time, last)
        one, none = (self._forecast.duration_s(replace(task, epochs=n), lease.slot) for n in (1, 0))
        late = max(0.0, since - one) if task.epochs else 0.0
        return max(0.0, none + task.epochs * (one - none + late) - since)

    def _waiting(self, run: Run) -> Task | None:
        history = self._history(run)
        over = history.done or (history.ended is not None and history.ended.time >= self._engine_time)
        if over or run.run_id in self._leases or run.run_id in self._holds.runs:
            return None
        return Task(runs=(run,), epochs=max(0, run.epochs - history.laps_done))
