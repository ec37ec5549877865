"""Control commands: validating and executing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dnlbench.errors import did_you_mean
from dnlbench.events import Command, CommandDone, RunHistory, device_of
from dnlbench.executor.scheduler.assignments import Assignments, ended_under
from dnlbench.executor.scheduler.disk import Records
from dnlbench.executor.scheduler.dispatch import Dispatcher
from dnlbench.executor.scheduler.queue import Queue
from dnlbench.executor.scheduler.retry import RetryPolicy
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

_DONE = {"pause": "paused", "release": "released", "resume": "resumed", "cancel": "cancelled"}
RunState = Literal["waiting", "running", "ok", "not ok"]


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of a command."""

    answer: str
    refused: bool = False
    runs: tuple[Run, ...] = ()


def inactive_state(history: RunHistory) -> RunState:
    """Return the state of a run that is neither waiting in the queue nor running."""
    if history.ended is None or not (history.done or history.ended.status == "failed"):
        return "waiting"
    return "ok" if history.ended.status == "ok" else "not ok"


def check_command(
    command: Command, plan: Plan, slots: Sequence[str], state: Callable[[Run], RunState]
) -> CommandResult:
    """Check whether a command can be executed in a sweep on these slots, and which runs it concerns."""
    unknown = [run_id for run_id in command.run_ids if run_id not in plan.by_id]
    if unknown:
        return _refused(f"no run {unknown[0]!r} in this sweep{did_you_mean(unknown[0], plan.by_id)}")
    runs = tuple(plan.by_id[run_id] for run_id in dict.fromkeys(command.run_ids))
    if command.device is not None or command.action == "release":
        return _check_device(command, slots)
    if command.action == "retry":
        return _check_retry(runs or plan.runs, state, named=bool(runs))
    ended = [run for run in runs if state(run) in ("ok", "not ok")]
    if ended:
        return _refused(f"{ended[0].title} has already ended")
    done = _DONE[command.action]
    return CommandResult(answer=f"{done}: {_names(runs)}" if runs else f"the sweep is {done}", runs=runs)


def _check_device(command: Command, slots: Sequence[str]) -> CommandResult:
    if command.action in ("cancel", "retry") or command.run_ids:
        return _refused("a device can only be paused, released or resumed; specify either runs or a device")
    if command.device is None:
        return _refused("release needs a device; use pause for runs and sweeps")
    devices = dict.fromkeys(map(device_of, slots))
    if command.device not in (*devices, *slots):
        return _refused(f"no device {command.device!r} in this sweep; available: {', '.join([*devices, *slots])}")
    return CommandResult(answer=f"{command.device} is {_DONE[command.action]}")


def _check_retry(runs: Iterable[Run], state: Callable[[Run], RunState], *, named: bool) -> CommandResult:
    states = {run: state(run) for run in runs}
    again = tuple(run for run, current in states.items() if current == "not ok")
    if named and len(again) < len(states):
        run = next(run for run in states if run not in again)
        why = {"ok": "has succeeded; to run it again, use another --run-dir", "running": "is running"}
        return _refused(f"{run.title} {why.get(states[run], 'is waiting')}")
    if not again:
        return _refused("no run has failed")
    return CommandResult(answer=f"will be retried: {_names(again)}", runs=again)


def _names(runs: Sequence[Run]) -> str:
    return ", ".join(run.title for run in runs) if len(runs) <= 4 else f"{len(runs)} runs"


def _refused(reason: str) -> CommandResult:
    return CommandResult(answer=reason, refused=True)


class Control:
    """Execute the commands in the run directory's control file. The pause state in `Records` implements pausing and resuming.

    With ``start_paused`` all runs are paused at first. Each starts when a command resumes it.
    """

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        slots: Sequence[str],
        *,
        queue: Queue,
        assignments: Assignments,
        dispatcher: Dispatcher,
        records: Records,
        retries: RetryPolicy,
        start_paused: bool,
    ) -> None:
        self._run_dir, self._plan, self._slots, self._start_paused = run_dir, plan, slots, start_paused
        self._queue, self._assignments, self._dispatcher = queue, assignments, dispatcher
        self._records, self._retries = records, retries
        self._commands = run_dir.open_control()
        self._not_resumed: set[str] = set()
        self.cancelled = False

    def begin(self) -> None:
        """Pause all waiting runs if the sweep starts paused."""
        if self._start_paused:
            self._not_resumed = set(self._queue)
        self._pause_waiting()

    def process_commands(self) -> None:
        for command in self._commands.read():
            result = self._check(command)
            if command.action == "resume" and result.runs and self._records.pause_state.sweep:
                result = replace(result, answer=f"{result.answer}; the sweep itself is still paused")
            if not result.refused and not self._execute(command, result.runs):
                result = _refused("the disk is full; repeat the command when there is room")
            self._records.note(CommandDone(command=command, refused=result.refused, answer=result.answer))
            if command.action in ("resume", "cancel") and not result.refused:
                self._not_resumed -= set(command.run_ids)
            self._pause_waiting()

    def _check(self, command: Command) -> CommandResult:
        if self._start_paused and command.action == "retry":
            return _refused(
                "its runs are paired with those of another environment; dnlbench run with --resume retries both runs of a pair"
            )
        return check_command(command, self._plan, self._slots, self._state)

    def _state(self, run: Run) -> RunState:
        if run.run_id in self._queue:
            return "waiting"
        history, lease = self._run_dir.read_history(run), self._assignments.lease_of(run.run_id)
        return inactive_state(history) if lease is None or ended_under(lease, history) else "running"

    def _execute(self, command: Command, runs: Sequence[Run]) -> bool:
        """Execute a valid command. Return False if the disk had no room for its events."""
        if command.action == "cancel":
            self.cancelled |= not runs
            done = [run for run in runs if self._dispatcher.cancel(run)]
        elif command.action == "retry":
            done = [run for run in runs if self._dispatcher.retry(run)]
            self._retries.forgive(run.run_id for run in done)
        else:
            return True
        return len(done) == len(runs)

    def _pause_waiting(self) -> None:
        """Pause runs that no command has resumed yet, even if the sweep as a whole is resumed."""
        not_paused = self._not_resumed - self._records.pause_state.runs
        free = tuple(run_id for run_id in self._queue if run_id in not_paused)
        if free:
            command = Command(action="pause", run_ids=free)
            self._records.note(
                CommandDone(command=command, refused=False, answer="paused until the paired benchmark resumes them")
            )

    def close(self) -> None:
        self._commands.close()
