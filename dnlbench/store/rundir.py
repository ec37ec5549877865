"""The run directory of one sweep: all paths in it, and functions to read and write its files.

::

    sweep.json                       the plan: spec, execution settings, run ids, and network, depth and seed of each run
    request.json                     the request of the last engine; see `dnlbench.engine.request`
    state.json                       summary for lists, derived from the other files; see `dnlbench.store.workspace`
    session.json                     the session of a paired benchmark; see `dnlbench.paired`
    journal.jsonl                    the scheduler's events
    control.jsonl                    commands to the engine
    engine.lock, engine.pid          held by the only engine that may write
    engine.reserve                   space that is released when the disk is full
    engine.log                       output of an engine without a terminal
    cluster.secret                   lets machines of a cluster check whether they have access to this directory
    slots/<slot>.log                 output of a slot's worker between runs
    runs/<run_id>/events.jsonl       the run's events
    runs/<run_id>/checkpoint.pt      the latest checkpoint, with a file for its SHA-256; kept for extending the run
    runs/<run_id>/log-<attempt>.txt  output of an attempt; runs of a pack share one file through hard links
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from dnlbench.errors import RunDirError
from dnlbench.events import (
    JournalEvent,
    RunEvent,
    RunHistory,
    RunLeased,
    fold,
    fold_lines,
    read_journal_event,
    read_run_event,
)
from dnlbench.files import LineWriter, is_disk_full, read_lines, read_regular
from dnlbench.machine import Machine, Sources, read_machine
from dnlbench.plan import Plan, Run
from dnlbench.spec import content_hash
from dnlbench.store.control import ControlFile
from dnlbench.store.engine_lock import EngineLock
from dnlbench.store.state import SweepState, fold_journal
from dnlbench.store.sweep_file import (
    ANY,
    Execution,
    read_execution,
    read_run_ids,
    read_sweep,
    settings_differences,
    write_sweep,
)

RUNS = Path(".dnlbench") / "runs"
"""Default parent of run directories, relative to the current folder."""
MANAGED_FILES = (
    *("sweep.json", "request.json", "state.json", "session.json", "spec.toml", "cluster.secret", "journal.jsonl"),
    *("control.jsonl", "engine.lock", "engine.pid", "engine.reserve", "engine.log", "slots", "runs"),
)
LOG_TAIL_LINES = 40
DISK_SLACK_BYTES = 256 * 1024
PROBE_BYTES = 64 * 1024

E = TypeVar("E")


class RunDir:
    """A sweep's folder. Creating this object does not create the folder; `begin` does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sweep_path = root / "sweep.json"
        self.request_path = root / "request.json"
        self.journal_path = root / "journal.jsonl"
        self.state_path = root / "state.json"
        self.control_path = root / "control.jsonl"
        self.engine_log_path = root / "engine.log"
        self.reserve_path = root / "engine.reserve"
        self.secret_path = root / "cluster.secret"

    @staticmethod
    def default_root(plan: Plan, execution: Execution, jobs: int) -> Path:
        """Return the default run directory, which is shared by all sweeps of the same name that can share their runs.

        The number of jobs is part of its name: it does not change results, but it changes timings.
        """
        identity = content_hash(
            {"settings": plan.settings_hash, "execution": execution.model_dump(), "jobs": jobs}, digits=10
        )
        return RUNS / f"{plan.spec.name}-{identity}"

    @property
    def managed_paths(self) -> list[Path]:
        """Files and folders that sweeps write here, now or later. Users may add other files."""
        return [self.root / name for name in MANAGED_FILES]

    def run_path(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    def checkpoint_time(self, run_id: str) -> float | None:
        """Return the time of the run's latest checkpoint; None if there is none."""
        try:
            return (self.run_path(run_id) / "checkpoint.pt").stat().st_mtime
        except FileNotFoundError:
            return None

    def events_path(self, run_id: str) -> Path:
        return self.run_path(run_id) / "events.jsonl"

    def log_path(self, run_id: str, attempt: int) -> Path:
        """Return the path of an attempt's output."""
        return self.run_path(run_id) / f"log-{attempt}.txt"

    def open_log(self, attempts: Mapping[str, int]) -> Path:
        """Create the log of runs that train together: one file, linked into each run's folder.

        ``attempts`` maps run ids to attempt numbers. On a file system without hard links only the first run has it.
        """
        first, *others = (self.log_path(run_id, attempt) for run_id, attempt in attempts.items())
        first.parent.mkdir(parents=True, exist_ok=True)
        first.touch()
        for path in others:
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                path.hardlink_to(first)
        return first

    def slot_log_path(self, slot: str) -> Path:
        """Return the path of a worker's output between runs."""
        return self.root / "slots" / f"{slot.replace(':', '-').replace('/', '-')}.log"

    @contextmanager
    def locked(self) -> Iterator[EngineLock]:
        """Make this process the directory's only engine; see `EngineLock`.

        Raises:
            RunDirError: if another engine is running, with its process id, or if the directory cannot be created.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirError(
                f"{self.root}: cannot be a run directory: {error.strerror}. Choose another --run-dir"
            ) from error
        lock = EngineLock(self.root)
        lock.acquire()
        try:
            self.control_path.unlink(missing_ok=True)  # left by an earlier engine
            yield lock
        finally:
            if lock.is_ours:
                self.control_path.unlink(missing_ok=True)
            lock.release()

    def engine(self) -> str | None:
        """Return the process id of the running engine, ``unknown`` if it is not written yet, or None if there is no engine."""
        return EngineLock(self.root).holder()

    def begin(self, plan: Plan, execution: Execution) -> None:
        """Write the plan, if it can share its runs with the existing one.

        Raises:
            RunDirError: if the directory contains another sweep, or the same one with other execution settings.
        """
        if self.sweep_path.exists():
            self._check_shares_runs(plan, execution)
        write_sweep(self.sweep_path, plan, execution)

    def _check_shares_runs(self, plan: Plan, execution: Execution) -> None:
        there = self.read_execution()
        if there.machine != execution.machine:
            raise RunDirError(
                f"{self.root} contains a sweep of another machine: {self._machine_of(there)}; "
                f"this is {_title(execution.machine, read_machine())}. "
                f"Run `dnlbench profiles save {self.root}` to save its results, or choose another --run-dir to train here."
            )
        differing = [*settings_differences(self.read_plan(), plan), *there.differences(execution)]
        if differing:
            raise RunDirError(
                f"{self.root} already contains a sweep with other settings: {'; '.join(differing)}. "
                "Undo the change, or choose another --run-dir."
            )

    def _machine_of(self, execution: Execution) -> str:
        engine = self.read_state().engine
        return _title(execution.machine, engine.machine if engine else None)

    def read_plan(self) -> Plan:
        return read_sweep(self.sweep_path)

    def read_run_ids(self) -> dict[tuple[str, int, int], str]:
        """Return run ids by network, depth and seed, in the plan's order, of a sweep of any version; empty without a sweep."""
        return read_run_ids(self.sweep_path)

    def read_execution(self) -> Execution:
        return read_execution(self.sweep_path)

    def recorded_code(self, plan: Plan) -> Sources:
        """Return the code of the custom parts, from all engines together; empty for a plan without custom parts."""
        return self.read_state().code if plan.custom_parts else Sources()

    def changed_code(self, plan: Plan) -> tuple[str, ...]:
        """Return what has changed in that code, as found from the current folder."""
        return self.recorded_code(plan).changes(Path.cwd())

    def open_control(self) -> ControlFile:
        """Open the control file. Only the engine may call this."""
        return ControlFile(self.control_path)

    def journal_writer(self) -> LineWriter:
        """Open the journal for writing. Only the engine may call this."""
        return LineWriter(self.journal_path)

    def events_writer(self, run_id: str) -> LineWriter:
        """Open a run's events for writing. Only the run's worker may call this, or the engine once that worker has exited."""
        return LineWriter(self.events_path(run_id))

    def read_state(self) -> SweepState:
        return fold_journal(self.read_journal())

    def read_journal(self) -> list[JournalEvent]:
        return self.parse_journal(read_lines(self.journal_path))

    def read_leases(self) -> list[RunLeased]:
        return [event for event in self.read_journal() if isinstance(event, RunLeased)]

    def parse_journal(self, lines: Iterable[bytes], first: int = 1) -> list[JournalEvent]:
        """Parse lines of the journal; ``first`` is the number of the first line."""
        return _parse(self.journal_path, lines, read_journal_event, first)

    def read_history(self, run: Run, *, all_epochs: bool = False) -> RunHistory:
        """Return the history of a run, for the requested number of epochs or for ``all_epochs``."""
        history = self.fold_events(run.run_id, read_lines(self.events_path(run.run_id)))
        return history if all_epochs else history.for_epochs(run.epochs)

    def fold_events(
        self, run_id: str, lines: Sequence[bytes], history: RunHistory | None = None, first: int = 1
    ) -> RunHistory:
        """Add lines of a run's file to a history; ``first`` is the number of the first line.

        Raises:
            RunDirError: if a line is not an event that this version can read, or is inconsistent with the events before it.
        """
        try:
            return fold_lines(run_id, lines, history)
        except ValueError:  # parse line by line to find the line number
            for number, event in enumerate(self.parse_events(run_id, lines, first), start=first):
                try:
                    history = fold([event], history, run_id)
                except ValueError as error:
                    raise RunDirError(
                        f"{self.events_path(run_id)}:{number}: {error}. "
                        f"Delete {self.run_path(run_id)} to train the run again."
                    ) from error
            return history or RunHistory()

    def parse_events(self, run_id: str, lines: Iterable[bytes], first: int = 1) -> list[RunEvent]:
        """Parse lines of a run's file; ``first`` is the number of the first line."""
        return _parse(self.events_path(run_id), lines, read_run_event, first)

    def has_room(self) -> bool:
        """Return True if the disk has room for another checkpoint as large as the largest one here, and some events."""
        try:
            sizes = [path.stat().st_size for path in self.root.glob("runs/*/checkpoint*.pt")]
            needed = DISK_SLACK_BYTES + 2 * max(sizes, default=0)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                for _ in range(-(-needed // PROBE_BYTES)):
                    probe.write(os.urandom(PROBE_BYTES))  # some file systems compress zeros
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            if is_disk_full(error) or isinstance(error, FileNotFoundError):  # a worker has just deleted a file
                return False
            raise
        return True

    def log_tail(self, run_id: str, attempt: int) -> str | None:
        """Return the last lines of an attempt's output; None if there is no output."""
        try:
            lines = read_regular(self.log_path(run_id, attempt)).decode(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        return "\n".join(lines[-LOG_TAIL_LINES:]) or None


def _title(fingerprint: str, machine: Machine | None) -> str:
    if fingerprint == ANY:
        return "a Ray cluster"
    return machine.title if machine is not None else f"one with the fingerprint {fingerprint}"


def _parse(path: Path, lines: Iterable[bytes], read: Callable[[bytes], E], first: int) -> list[E]:
    parsed = []
    for number, line in enumerate(lines, start=first):
        try:
            parsed.append(read(line))
        except ValidationError as error:
            raise RunDirError(f"{path}:{number}: not an event that this version reads: {line[:200]!r}") from error
    return parsed
