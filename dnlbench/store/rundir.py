"""The run directory of one sweep: every path in it, and how each file is written and read.

::

    sweep.json                       the plan: spec, how it is carried out, run ids
    journal.jsonl                    the scheduler's events
    engine.lock, engine.pid          held by the one engine that may write
    slots/<slot>.log                 output of a slot's worker between runs
    runs/<run_id>/events.jsonl       the run's events
    runs/<run_id>/checkpoint.pt      where the run stands, with its SHA-256 beside it; gone when the run is done
    runs/<run_id>/log-<attempt>.txt  everything that an attempt printed
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.errors import RunDirError
from dnlbench.events import (
    JournalEvent,
    RunEvent,
    RunHistory,
    fold,
    read_journal_event,
    read_run_event,
)
from dnlbench.files import LineWriter, read_lines, write_atomically
from dnlbench.plan import Plan
from dnlbench.spec import content_hash
from dnlbench.studies import STUDIES

SCHEMA = "dnlbench.sweep/1"
LOG_TAIL_LINES = 40

E = TypeVar("E")


class Execution(BaseModel):
    """How runs are carried out, as far as their results depend on it. Results are bit-equal where this is equal."""

    model_config = ConfigDict(frozen=True)

    device_kind: str
    threads: int
    pack_size: int
    torch: str
    machine: str
    """Fingerprint of the hardware."""
    source: str
    """Hash of dnlbench's own code."""


class RunDir:
    """A sweep's folder. Opening it creates nothing; `begin` does."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def default_root(plan: Plan, execution: Execution, jobs: int) -> Path:
        """Where a sweep lives unless told otherwise: one folder for each spec and way to carry it out.

        The number of runs side by side changes no result, but it does change timings.
        """
        identity = content_hash(
            {
                "spec": plan.spec.model_dump(mode="json"),
                "workload_version": plan.study.workload_version,
                "execution": execution.model_dump(),
                "jobs": jobs,
            },
            digits=10,
        )
        return Path(".dnlbench") / "runs" / f"{plan.spec.name}-{identity}"

    @property
    def sweep_path(self) -> Path:
        """The plan."""
        return self.root / "sweep.json"

    @property
    def journal_path(self) -> Path:
        """The scheduler's events."""
        return self.root / "journal.jsonl"

    def run_path(self, run_id: str) -> Path:
        """A run's folder."""
        return self.root / "runs" / run_id

    def events_path(self, run_id: str) -> Path:
        """A run's events."""
        return self.run_path(run_id) / "events.jsonl"

    def log_path(self, run_id: str, attempt: int) -> Path:
        """Everything that an attempt at a run printed."""
        return self.run_path(run_id) / f"log-{attempt}.txt"

    def slot_log_path(self, slot: str) -> Path:
        """What a slot's worker printed between runs."""
        return self.root / "slots" / f"{slot.replace(':', '-').replace('/', '-')}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes this process the directory's only engine. The operating system lets go of the lock however it ends.

        Raises:
            RunDirError: if another engine holds it, with that engine's process id.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirError(
                f"{self.root}: cannot be a run directory: {error.strerror}. Choose another --run-dir"
            ) from error
        pid_path = self.root / "engine.pid"
        lock = FileLock(self.root / "engine.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            holder = pid_path.read_text().strip() if pid_path.exists() else "unknown"
            raise RunDirError(
                f"{self.root}: in use by another engine, process {holder}. Wait for it, or choose another --run-dir"
            ) from error
        try:
            write_atomically(pid_path, f"{os.getpid()}\n".encode())
            yield
        finally:
            pid_path.unlink(missing_ok=True)
            lock.release()

    def begin(self, plan: Plan, execution: Execution) -> None:
        """Writes the plan, or checks that the plan already here is the same one, to be gone on with.

        Raises:
            RunDirError: if the directory belongs to another sweep, or to this one carried out in another way.
        """
        mine: dict[str, Any] = {
            "schema": SCHEMA,
            "spec_hash": plan.spec_hash,
            "workload_version": plan.study.workload_version,
            "execution": execution.model_dump(),
            "study": plan.spec.study,
            "spec": plan.spec.model_dump(mode="json"),
            "runs": [run.run_id for run in plan.runs],
        }
        if self.sweep_path.exists():
            self._check_same_sweep(mine)
        # Written again too: the same question may be asked of data that have moved to another place.
        write_atomically(self.sweep_path, json.dumps(mine, indent=1, ensure_ascii=False).encode())

    def _check_same_sweep(self, mine: dict[str, Any]) -> None:
        theirs = self._read_sweep()
        there, here = _facts(theirs), _facts(mine)
        differing = [
            f"{key} there is {there.get(key)}, here {here[key]}" for key in here if there.get(key) != here[key]
        ]
        if differing:
            raise RunDirError(f"{self.root}: holds another sweep: {'; '.join(differing)}. Choose another --run-dir")

    def _read_sweep(self) -> dict[str, Any]:
        try:
            content = json.loads(self.sweep_path.read_bytes())
        except FileNotFoundError as error:
            raise RunDirError(f"{self.root}: not a run directory: it has no sweep.json") from error
        except ValueError as error:
            raise RunDirError(f"{self.sweep_path}: not valid JSON: {error}") from error
        except OSError as error:
            raise RunDirError(f"{self.sweep_path}: cannot be read: {error.strerror}") from error
        if (
            not isinstance(content, dict)
            or content.get("schema") != SCHEMA
            or not isinstance(content.get("execution"), dict)
        ):
            found = content.get("schema") if isinstance(content, dict) else None
            raise RunDirError(f"{self.sweep_path}: schema {found!r}, this version reads {SCHEMA!r}")
        return content

    def read_plan(self) -> Plan:
        """The sweep that lives here.

        Raises:
            RunDirError: if there is none, or one that this version cannot read.
        """
        content = self._read_sweep()
        try:
            study = STUDIES[str(content["study"])]
            return Plan(study.spec.model_validate_json(json.dumps(content["spec"]), strict=True))
        except (KeyError, ValidationError) as error:
            raise RunDirError(f"{self.sweep_path}: holds no spec that this version reads: {error}") from error

    def journal_writer(self) -> LineWriter:
        """For the engine only."""
        return LineWriter(self.journal_path)

    def events_writer(self, run_id: str) -> LineWriter:
        """For the worker that has the run, or for the engine once that worker is gone."""
        return LineWriter(self.events_path(run_id))

    def read_journal(self) -> list[JournalEvent]:
        """All events of the scheduler."""
        return _parse(self.journal_path, read_lines(self.journal_path), read_journal_event)

    def read_history(self, run_id: str) -> RunHistory:
        """What the events of a run add up to."""
        return fold(self.parse_events(run_id, read_lines(self.events_path(run_id))))

    def parse_events(self, run_id: str, lines: Iterable[bytes]) -> list[RunEvent]:
        """Events from lines of a run's file."""
        return _parse(self.events_path(run_id), lines, read_run_event)

    def log_tail(self, run_id: str, attempt: int) -> str | None:
        """The last lines that an attempt printed; None if it printed nothing."""
        try:
            lines = self.log_path(run_id, attempt).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return None
        return "\n".join(lines[-LOG_TAIL_LINES:]) or None


def _facts(sweep: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for a sweep to go on in a directory."""
    return {"spec": sweep.get("spec_hash"), "workload_version": sweep.get("workload_version"), **sweep["execution"]}


def _parse(path: Path, lines: Iterable[bytes], read: Callable[[bytes], E]) -> list[E]:
    parsed = []
    for number, line in enumerate(lines, start=1):
        try:
            parsed.append(read(line))
        except ValidationError as error:
            raise RunDirError(f"{path}:{number}: not an event that this version reads: {line[:200]!r}") from error
    return parsed
