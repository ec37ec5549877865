"""The index of the run directories below a folder, and ``state.json``, the summary of a sweep for lists.

The engine writes ``state.json`` when it ends. The events are read instead if the file is missing, damaged, from another
version, or older than the events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.errors import DnlbenchError, RunDirError
from dnlbench.files import Stamp, file_stamp, read_regular, write_atomically
from dnlbench.spec.settings import settings_text
from dnlbench.store.follow import SweepFollower
from dnlbench.store.rundir import RUNS, RunDir
from dnlbench.store.state import SweepView

__all__ = ["RUNS", "SweepEntry", "Workspace", "find_sweep", "save_entry"]

SweepStatus: TypeAlias = Literal[
    "running", "paused", "disk full", "done", "interrupted", "error", "killed", "waiting", "unreadable"
]
AT_WORK = ("running", "paused", "disk full")


@dataclass(frozen=True, kw_only=True)
class SweepEntry:
    """A run directory in a list."""

    run_dir: Path
    name: str
    state: SweepStatus
    runs: int = 0
    ended: int = 0
    """Number of runs that have ended and will not be executed again."""
    failed: int = 0
    """Number of those that did not succeed."""
    fraction: float | None = None
    """Fraction of the work that is done, if the sweep's engine is running."""
    active: float = 0.0
    """Time of the last activity, in seconds since the epoch."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings as text, by dotted keys."""
    differing: str = ""
    """The settings that differ among listed sweeps of the same name and study."""
    problem: str = ""
    """Why it cannot be read; empty if it can."""

    @property
    def at_work(self) -> bool:
        """True if an engine is running."""
        return self.state in AT_WORK


class Workspace:
    """The run directories of a folder. A poll reads only what has changed since the last one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._followed: dict[Path, _Followed] = {}

    def poll(self) -> list[SweepEntry]:
        """Return all run directories, sorted by path. Only one thread may call this at a time."""
        paths = sorted(path for path in self._folder.glob("*") if path.is_dir())
        self._followed = {path: self._followed.get(path) or _Followed(RunDir(path)) for path in paths}
        return [followed.poll() for followed in self._followed.values()]


class _Followed:
    """A run directory that is polled repeatedly."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._entry: SweepEntry | None = None
        self._stamps: tuple[Stamp | None, ...] = ()
        self._follower: SweepFollower | None = None
        """A follower while an engine is running."""

    def poll(self) -> SweepEntry:
        at_work = self._has_engine()
        stamps = file_stamp(self._run_dir.sweep_path), file_stamp(self._run_dir.journal_path)
        if self._entry and stamps == self._stamps and not at_work and not self._entry.at_work:
            return self._entry
        if stamps[:1] != self._stamps[:1]:  # the sweep may have been extended
            self._follower = None
        self._stamps = stamps
        try:
            self._entry = self._read(at_work=at_work)
        except (DnlbenchError, OSError, ValueError, KeyError) as error:
            self._entry = self._unreadable(error)
        return self._entry

    def _has_engine(self) -> bool:
        """Return True if an engine is running.

        Check the lock only if there is a file of an engine, because 500 locks take a while.
        """
        return (self._run_dir.root / "engine.pid").exists() and self._run_dir.engine() is not None

    def _read(self, *, at_work: bool) -> SweepEntry:
        if not at_work and self._follower is None and (saved := _read_saved(self._run_dir)) is not None:
            return saved
        follower = self._follower or SweepFollower(self._run_dir, self._run_dir.read_plan())
        self._follower = follower if at_work else None
        return _entry(self._run_dir, follower.poll(), at_work=at_work)

    def _unreadable(self, error: Exception) -> SweepEntry:
        root = self._run_dir.root
        stamp = self._stamps[0] or file_stamp(root)
        active = stamp[0] / 1e9 if stamp else 0.0
        return SweepEntry(run_dir=root, name=root.name, state="unreadable", active=active, problem=str(error))


def _entry(run_dir: RunDir, view: SweepView, *, at_work: bool) -> SweepEntry:
    stamp = file_stamp(run_dir.journal_path) or file_stamp(run_dir.sweep_path)
    return SweepEntry(
        run_dir=run_dir.root,
        name=view.plan.spec.name,
        state=_status(view, at_work=at_work),
        runs=len(view.plan.runs),
        ended=len(view.ended),
        failed=len(view.not_ok),
        fraction=view.fraction_done if at_work else None,
        active=max([stamp[0] / 1e9 if stamp else 0.0, *_last_times(view)]),
        settings=settings_text(view.plan.spec.model_dump(mode="json")),
    )


def _status(view: SweepView, *, at_work: bool) -> SweepStatus:
    if at_work:
        return "disk full" if view.pause_state.disk is not None else "paused" if view.pause_state.sweep else "running"
    if len(view.ended) == len(view.plan.runs):
        return "done"
    if view.engine is None:
        return "waiting"
    if view.engine_ended is None:
        return "killed"
    return "error" if view.engine_ended.reason == "error" else "interrupted"


def _last_times(view: SweepView) -> Iterator[float]:
    for history in view.histories.values():
        if last := history.ended or (history.epoch_events[-1] if history.epoch_events else history.started):
            yield last.time


class _Saved(BaseModel):
    """The content of ``state.json``."""

    model_config = ConfigDict(frozen=True)

    schema_: Literal["dnlbench.state/1"] = "dnlbench.state/1"
    files: tuple[Stamp | None, Stamp | None, Stamp]
    """Stamps of the plan and the journal, and number and total size of the event files from which the entry was made."""
    entry: SweepEntry


def save_entry(run_dir: RunDir) -> None:
    """Write ``state.json`` for a sweep that is no longer running. A failure, for example a full disk, is ignored."""
    with suppress(OSError, RunDirError):
        files = _files(run_dir)
        entry = _entry(run_dir, SweepFollower(run_dir, run_dir.read_plan()).poll(), at_work=False)
        write_atomically(run_dir.state_path, _Saved(files=files, entry=entry).model_dump_json().encode())


def _read_saved(run_dir: RunDir) -> SweepEntry | None:
    try:
        saved = _Saved.model_validate_json(read_regular(run_dir.state_path))
    except (OSError, ValidationError):
        return None
    return saved.entry if saved.files == _files(run_dir) and saved.entry.run_dir == run_dir.root else None


def _files(run_dir: RunDir) -> tuple[Stamp | None, Stamp | None, Stamp]:
    sizes = [path.stat().st_size for path in (run_dir.root / "runs").glob("*/events.jsonl")]
    return file_stamp(run_dir.sweep_path), file_stamp(run_dir.journal_path), (len(sizes), sum(sizes))


def find_sweep(folder: Path = RUNS) -> RunDir:
    """Return the sweep in a folder of run directories whose engine is running, or else the sweep that ran last.

    Raises:
        RunDirError: if there is none.
    """
    run_dirs = [RunDir(path.parent) for path in folder.glob("*/sweep.json")]
    if not run_dirs:
        raise RunDirError(f"no sweep below {folder}; name a run directory, or start one with dnlbench run")
    by_time = sorted(run_dirs, key=lambda run_dir: file_stamp(run_dir.journal_path) or (0, 0), reverse=True)
    return next((run_dir for run_dir in by_time if run_dir.engine() is not None), by_time[0])
