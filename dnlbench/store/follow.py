"""Followers of a run directory. Each poll reads only what was added since the last one, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dnlbench.errors import RunDirError
from dnlbench.events import CommandDone, EngineStarted, JournalEvent, RunHistory, RunLeased, RunStarted
from dnlbench.files import LineFollower
from dnlbench.plan import Plan, Run
from dnlbench.store.rundir import RunDir
from dnlbench.store.state import SweepState, SweepView

MOST_EPOCHS = 4096
"""Maximum number of epochs kept for a run, which bounds memory; see `dnlbench.events.Epochs.thinned`."""


class Journal:
    """Follow a journal. Unreadable lines are skipped; the first one is kept as the `problem`."""

    def __init__(self, run_dir: RunDir, *, from_now: bool = False) -> None:
        self.state = SweepState()
        self.problem: RunDirError | None = None
        """Error of the first unreadable line in the last poll."""
        self._run_dir = run_dir
        self._lines = LineFollower(run_dir.journal_path)
        if from_now:
            self._lines.read()

    def poll(self) -> list[JournalEvent]:
        self.problem = None
        events = []
        for number, line in enumerate(self._lines.read(), start=self._lines.passed + 1):
            try:
                events += self._run_dir.parse_journal([line], number)
            except RunDirError as error:
                self.problem = self.problem or error
        for event in events:
            self.state = self.state.after(event)
        return events


class RunFollower:
    """Follow a run's events. Unreadable or inconsistent lines are skipped; the first one is kept as the `problem`."""

    def __init__(self, run_dir: RunDir, run_id: str) -> None:
        self.history = RunHistory()
        self.problem: RunDirError | None = None
        """Error of the first unreadable line in the last poll."""
        self._run_dir = run_dir
        self._run_id = run_id
        self._lines = LineFollower(run_dir.events_path(run_id))

    def poll(self) -> bool:
        """Read new events and return True if there were any."""
        self.problem = None
        lines = self._lines.read()
        if not lines:
            return False
        try:
            history = self._run_dir.fold_events(self._run_id, lines, self.history)
        except RunDirError:
            history = self._skipping(lines)
        if len(history.epochs) > MOST_EPOCHS:
            history = replace(history, epochs=history.epochs.thinned(MOST_EPOCHS))
        self.history = history
        return True

    def _skipping(self, lines: Sequence[bytes]) -> RunHistory:
        history = self.history
        for number, line in enumerate(lines, start=self._lines.passed + 1):
            try:
                history = self._run_dir.fold_events(self._run_id, [line], history, number)
            except RunDirError as error:
                self.problem = self.problem or error
        return history


class SweepFollower:
    """Follow a sweep: its journal, and the runs in the journal."""

    def __init__(self, run_dir: RunDir, plan: Plan) -> None:
        self.problem: RunDirError | None = None
        """Error of the first unreadable line in the last poll, which was skipped."""
        self.fresh: list[RunLeased] = []
        """Leases whose runs were read in the last poll."""
        self._plan = plan
        self._journal = Journal(run_dir)
        self._runs = {run.run_id: RunFollower(run_dir, run.run_id) for run in plan.runs}
        self._requested = {run.run_id: RunHistory() for run in plan.runs}
        """Histories for the requested number of epochs. An unchanged history is the same object as before."""
        self._last_started: dict[str, RunStarted] = {}
        for run in plan.runs:
            self._follow(run)

    @property
    def state(self) -> SweepState:
        return self._journal.state

    def history(self, run_id: str) -> RunHistory:
        """Return a run's complete history, including epochs beyond the requested number."""
        return self._runs[run_id].history

    def poll(self) -> SweepView:
        self.problem = None
        under_way = list(self.state.leases.values())
        events = self._journal.poll()
        self.problem = self._journal.problem
        leases = [*under_way, *(event for event in events if isinstance(event, RunLeased))]
        self.fresh = [
            lease for lease in leases if lease.run_id in self._runs
        ]  # an earlier sweep may have contained other runs
        for run_id in dict.fromkeys([*(lease.run_id for lease in self.fresh), *self._commanded(events)]):
            self._follow(self._plan.by_id[run_id])
        self._update_last_started(events)
        leased = {run_id: lease.slot for run_id, lease in self.state.leases.items() if self.is_under_way(lease)}
        return SweepView(
            **vars(self.state),
            plan=self._plan,
            histories=dict(self._requested),
            leased=leased,
            last_started=dict(self._last_started),
        )

    def is_under_way(self, lease: RunLeased) -> bool:
        if lease.run_id not in self._runs:
            return False
        ended = self.history(lease.run_id).ended
        return ended is None or ended.time < lease.time

    def _follow(self, run: Run) -> None:
        follower = self._runs[run.run_id]
        if follower.poll():
            self._requested[run.run_id] = follower.history.for_epochs(run.epochs)
        self.problem = self.problem or follower.problem

    def _commanded(self, events: Sequence[JournalEvent]) -> Iterator[str]:
        """Yield runs that may have new events without a lease because of a command."""
        for event in events:
            if isinstance(event, CommandDone) and event.command.action in ("cancel", "retry"):
                named = set(event.command.run_ids)
                yield from (run for run, follower in self._runs.items() if run in named or follower.history.ended)

    def _update_last_started(self, events: Sequence[JournalEvent]) -> None:
        if any(isinstance(event, EngineStarted) for event in events):
            self._last_started = {}
        for lease in self.fresh:
            started = self.history(lease.run_id).started
            is_current = (
                started is not None and started.attempt == lease.attempt and lease.time >= self.state.engine_time
            )
            if is_current and started is not None and started.node is not None:
                self._last_started[lease.slot] = started
