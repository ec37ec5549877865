"""What there is below a folder: specs to start from, sweeps, profiles. Read anew only where a file has changed.

Everything here looks at the cheap parts of files: the plan of a sweep, its journal, and the last events of the runs that
the journal tells of; the facts of a profile without its figures. What cannot be read is listed with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from dnlbench.errors import DnlbenchError, RunDirError
from dnlbench.files import LineFollower, read_text

if TYPE_CHECKING:  # at run time where they are needed: they take longer than a first paint may
    from dnlbench.events import Holds
    from dnlbench.store import RunDir

SweepState = Literal[
    "running", "paused", "disk full", "done", "interrupted", "error", "killed", "waiting", "unreadable"
]

TAIL_BYTES = 16 * 1024
"""Of a run's events: holds the last epoch and the end, with the log of an error as a rule."""
E = TypeVar("E")
D = TypeVar("D", "SweepEntry", "ProfileEntry")
Stamp = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SpecEntry:
    """A spec that a sweep can be started from."""

    name: str
    spec: str
    """What ``dnlbench run`` takes: a preset's name or a path."""
    text: str
    preset: bool
    summary: str = ""
    runs: int | None = None
    problem: str = ""
    """Why it cannot be started; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class SweepEntry:
    """A run directory."""

    run_dir: Path
    name: str
    state: SweepState
    runs: int = 0
    ended: int = 0
    """Runs that have ended and are not to be done again."""
    failed: int = 0
    """Of these, the ones that did not end well."""
    fraction: float | None = None
    """Share of the work that is done, of a sweep whose engine is at work."""
    active: float = 0.0
    """When something happened last, in seconds since the epoch."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """As text, by dotted keys."""
    differing: str = ""
    """The settings that differ among the sweeps of the same name and study."""
    problem: str = ""

    @property
    def at_work(self) -> bool:
        """Whether an engine has it."""
        return self.state in ("running", "paused", "disk full")


@dataclass(frozen=True, kw_only=True)
class ProfileEntry:
    """A saved profile."""

    path: Path
    name: str
    study: str = ""
    state: str = ""
    created: datetime | None = None
    machine: str = ""
    """The device that it was made on, as far as it can be told."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """As text, by dotted keys."""
    differing: str = ""
    """The settings that differ among the profiles of the same sweep name and study."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything, at one look."""

    specs: tuple[SpecEntry, ...]
    sweeps: tuple[SweepEntry, ...]
    profiles: tuple[ProfileEntry, ...]


class Catalogue:
    """Looks below a folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._presets: tuple[SpecEntry, ...] | None = None
        self._specs: dict[Path, tuple[Stamp, SpecEntry]] = {}
        self._profiles: dict[Path, tuple[Stamp, ProfileEntry]] = {}
        self._sweeps: dict[Path, _Followed] = {}

    def look(self) -> Found:
        """What there is now. Not for two threads at once."""
        return Found(specs=self.specs(), sweeps=self.sweeps(), profiles=self.profiles())

    def specs(self) -> tuple[SpecEntry, ...]:
        """Presets, then the folder's own specs in ``sweeps``, each by name."""
        if self._presets is None:
            self._presets = _read_presets()
        self._specs = _changed((self._folder / "sweeps").glob("*.toml"), self._specs, _read_own_spec)
        return (*self._presets, *(entry for _, entry in self._specs.values()))

    def sweeps(self) -> tuple[SweepEntry, ...]:
        """Those at work first, then the one at work last."""
        folders = sorted(path for path in runs_folder(self._folder).glob("*") if path.is_dir())
        self._sweeps = {path: self._sweeps.get(path) or _Followed(path) for path in folders}
        entries = _with_differing([followed.look() for followed in self._sweeps.values()])
        return tuple(sorted(entries, key=lambda entry: (not entry.at_work, -entry.active)))

    def profiles(self) -> tuple[ProfileEntry, ...]:
        """The newest first; what is none last."""
        self._profiles = _changed((self._folder / "profiles").glob("*.json"), self._profiles, read_profile_facts)
        entries = _with_differing([entry for _, entry in self._profiles.values()])
        return tuple(sorted(entries, key=lambda entry: -entry.created.timestamp() if entry.created else 0.0))


def _with_differing(entries: Sequence[D]) -> Iterator[D]:
    from dnlbench.profiles import differing_settings

    texts = differing_settings([entry.settings for entry in entries])
    return (replace(entry, differing=text) for entry, text in zip(entries, texts, strict=True))


def runs_folder(folder: Path) -> Path:
    """Where the run directories are."""
    return folder / ".dnlbench" / "runs"


def _changed(
    paths: Iterable[Path], known: Mapping[Path, tuple[Stamp, E]], read: Callable[[Path], E]
) -> dict[Path, tuple[Stamp, E]]:
    """What was read of each path before where its file is still the same, what is read of it now elsewhere."""
    found = {}
    for path in sorted(paths):
        stamp = _stamp(path)
        before = known.get(path)
        if stamp is not None:
            found[path] = before if before and before[0] == stamp else (stamp, read(path))
    return found


def _stamp(path: Path) -> Stamp | None:
    """Differs where a file was written to since; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _without_path(error: Exception, path: str) -> str:
    """The first line of a message without the path, which stands beside it."""
    message = re.sub(r"\s+", " ", str(error).partition("\n")[0]).replace(f"{path}/", "").removeprefix(path)
    return re.sub(r"^:(\d+): ", r"line \1: ", message).removeprefix(": ")


def _read_presets() -> tuple[SpecEntry, ...]:
    from dnlbench.spec import list_presets

    return tuple(
        _spec_entry(name=preset.name, spec=preset.name, text=preset.text, preset=True) for preset in list_presets()
    )


def _read_own_spec(path: Path) -> SpecEntry:
    try:
        text = read_text(path)
    except (OSError, UnicodeError) as error:
        return SpecEntry(name=path.stem, spec=str(path), text="", preset=False, problem=f"cannot be read: {error}")
    return _spec_entry(name=path.stem, spec=str(path), text=text, preset=False)


def _spec_entry(*, name: str, spec: str, text: str, preset: bool) -> SpecEntry:
    from dnlbench.spec import parse_spec

    first = text.partition("\n")[0]
    summary = first.lstrip("# ").strip() if first.startswith("#") else ""
    try:
        parsed = parse_spec(text, spec)
    except DnlbenchError as error:
        problem = _without_path(error, spec)
        return SpecEntry(name=name, spec=spec, text=text, preset=preset, summary=summary, problem=problem)
    runs = len(parsed.points) * len(parsed.seeds)
    return SpecEntry(name=name, spec=spec, text=text, preset=preset, summary=summary, runs=runs)


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """Where a run stands, by its last events."""

    epoch: int = 0
    status: str | None = None
    """How it ended; None for one that has not."""
    time: float = 0.0
    """Of the last event."""
    requested: bool = False

    def after(self, event: Mapping[str, Any]) -> _Standing:
        time = float(event.get("time", 0.0))
        match event.get("event"):
            case "run-started":
                return _Standing(epoch=int(event.get("from_epoch", 0)), time=time)
            case "epoch-done" | "measured":
                return _Standing(epoch=int(event.get("epoch", 0)), time=time)
            case "run-ended":
                requested = bool(event.get("requested"))
                return _Standing(epoch=self.epoch, status=event.get("status"), time=time, requested=requested)
            case "run-requeued":
                return _Standing(epoch=self.epoch, time=time)
        return self

    def asked_for(self, epochs: int) -> _Standing:
        """As `dnlbench.events.RunHistory.asked_for`, of what is known here."""
        if self.status == "ok" and self.epoch < epochs:
            return _Standing(epoch=self.epoch, time=self.time)
        if self.status == "diverged" and self.epoch > epochs:
            return _Standing(epoch=epochs, status="ok", time=self.time)
        return self

    def is_over(self, engine_time: float) -> bool:
        """Whether nothing is left to do, or nothing more will be done by the engine that began then."""
        if self.status is None:
            return False
        return self.status in ("ok", "diverged", "oom") or self.requested or self.time >= engine_time


@dataclass(kw_only=True)
class _Journal:
    """What the journal of a sweep has told so far."""

    begun: float | None = None
    """When the last engine began."""
    last_word: str | None = None
    """Of the last engine; None if it has not ended, or was killed."""
    holds: Holds
    told_of: set[str] = field(default_factory=set)
    """Runs that may stand elsewhere than when this was last emptied."""

    def heed(self, line: bytes, runs: Iterable[str]) -> None:
        """Takes in one line. One that this version does not know is passed over: it is no reason to hide the sweep."""
        from pydantic import ValidationError

        from dnlbench.events import CommandDone, DiskFree, DiskFull, EngineEnded, EngineStarted, read_journal_event

        if b'"run-leased"' in line or b'"run-returned"' in line:  # most lines by far; no need to check them whole
            self.told_of.update(re.findall(r'"run_id":\s*"([^"]+)"', line.decode(errors="replace")))
            return
        try:
            event = read_journal_event(line)
        except ValidationError:
            return
        self.holds = self.holds.after(event)
        match event:
            case EngineStarted(time=time):
                self.begun, self.last_word = time, None
            case EngineEnded(reason=reason):
                self.last_word = reason
            case CommandDone(command=command):
                self.told_of.update(command.run_ids or runs)
            case DiskFull() | DiskFree():
                pass


class _Followed:
    """One run directory, from look to look."""

    def __init__(self, root: Path) -> None:
        from dnlbench.store import RunDir

        self._run_dir = RunDir(root)
        self._stamp: Stamp | None = None
        self._entry: SweepEntry | None = None
        self._sweep: _Sweep | None = None

    def look(self) -> SweepEntry:
        stamp = _stamp(self._run_dir.sweep_path)
        if self._entry is None or stamp != self._stamp:
            self._stamp = stamp
            self._sweep, self._entry = None, None
            try:
                self._sweep = _Sweep(self._run_dir)
            except (DnlbenchError, OSError, ValueError, KeyError) as error:
                self._entry = self._unreadable(error)
        if self._sweep is not None:
            self._entry = self._sweep.look()
        assert self._entry is not None
        return self._entry

    def _unreadable(self, error: Exception) -> SweepEntry:
        root = self._run_dir.root
        problem = _without_path(error, str(root))
        stamp = self._stamp or _stamp(root)
        active = stamp[0] / 1e9 if stamp else 0.0
        return SweepEntry(run_dir=root, name=root.name, state="unreadable", active=active, problem=problem)


class _Sweep:
    """A run directory whose plan can be read."""

    def __init__(self, run_dir: RunDir) -> None:
        from dnlbench.events import Holds
        from dnlbench.profiles import settings_text

        self._run_dir = run_dir
        self._plan = run_dir.read_plan()
        self._settings = settings_text(self._plan.spec.model_dump(mode="json"))
        self._runs = _run_ids(run_dir)
        self._lines = LineFollower(run_dir.journal_path)
        self._journal = _Journal(holds=Holds())
        self._standings: dict[str, _Standing] = {}
        self._stamps: dict[str, Stamp] = {}
        self._at_work = False
        self._entry: SweepEntry | None = None

    def look(self) -> SweepEntry:
        lines = self._lines.read()
        at_work = self._has_engine()
        if self._entry is not None and not lines and not at_work and not self._at_work:
            return self._entry
        self._at_work = at_work
        for line in lines:
            self._journal.heed(line, self._runs)
        self._look_at_runs()
        self._entry = self._describe()
        return self._entry

    def _has_engine(self) -> bool:
        """Asks for the lock only where an engine has left its mark: 500 locks would take a while."""
        return (self._run_dir.root / "engine.pid").exists() and self._run_dir.engine() is not None

    def _look_at_runs(self) -> None:
        for run_id in self._journal.told_of & self._runs:
            path = self._run_dir.events_path(run_id)
            stamp = _stamp(path)
            if stamp is not None and stamp != self._stamps.get(run_id):
                self._stamps[run_id] = stamp
                self._standings[run_id] = _last_standing(path).asked_for(self._plan.spec.epochs)
        # A run that has ended stays as it is until the journal tells of it again.
        self._journal.told_of = {run for run in self._journal.told_of if self._standing(run).status is None}

    def _standing(self, run_id: str) -> _Standing:
        return self._standings.get(run_id, _Standing())

    def _describe(self) -> SweepEntry:
        begun = self._journal.begun or 0.0
        over = [standing for standing in self._standings.values() if standing.is_over(begun)]
        stamp = _stamp(self._run_dir.journal_path) or _stamp(self._run_dir.sweep_path)
        times = [stamp[0] / 1e9 if stamp else 0.0, *(standing.time for standing in self._standings.values())]
        return SweepEntry(
            run_dir=self._run_dir.root,
            name=self._plan.spec.name,
            state=self._state(len(over)),
            runs=len(self._runs),
            ended=len(over),
            failed=sum(standing.status != "ok" for standing in over),
            fraction=self._fraction(begun) if self._at_work else None,
            active=max(times),
            settings=self._settings,
        )

    def _state(self, ended: int) -> SweepState:
        if self._at_work:
            if self._journal.holds.disk is not None:
                return "disk full"
            return "paused" if self._journal.holds.sweep else "running"
        if ended == len(self._runs):
            return "done"
        match self._journal.last_word:
            case "error":
                return "error"
            case None if self._journal.begun is not None:
                return "killed"
            case None:
                return "waiting"
        return "interrupted"

    def _fraction(self, begun: float) -> float:
        work, epochs = self._plan.work, self._plan.spec.epochs
        done = 0.0
        for run_id, standing in self._standings.items():
            share = 1.0 if standing.is_over(begun) else min(1.0, standing.epoch / epochs)
            done += work.get(run_id, 0.0) * share
        return done / sum(work.values())


def _run_ids(run_dir: RunDir) -> frozenset[str]:
    """As they were written; working them out again takes longer."""
    runs = json.loads(run_dir.sweep_path.read_bytes()).get("runs")
    if not isinstance(runs, list):
        raise RunDirError(f"{run_dir.sweep_path}: names no runs")
    return frozenset(str(run) for run in runs)


def _last_standing(path: Path) -> _Standing:
    standing = _Standing()
    for line in _last_lines(path):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            standing = standing.after(event)
    return standing


def _last_lines(path: Path) -> list[bytes]:
    """The whole lines at the end of a file; all of them where the last one is very long."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
            if size <= TAIL_BYTES:
                return lines
            if any(b'"epoch-done"' in line or b'"measured"' in line for line in lines[1:]):
                return lines[1:]
            file.seek(0)
            return file.read().split(b"\n")[:-1]
    except OSError:
        return []


def read_profile_facts(path: Path) -> ProfileEntry:
    """What a profile is, without the figures of its runs; or why it is none."""
    from dnlbench.profiles import read_listed, settings_text

    try:
        profile = read_listed(path)
    except DnlbenchError as error:
        return ProfileEntry(path=path, name=path.stem, problem=_without_path(error, str(path)))
    return ProfileEntry(
        path=path,
        name=path.stem,
        study=profile.study,
        state=profile.state,
        created=profile.created,
        settings=settings_text(profile.spec),
        machine=next((run.device_name for run in profile.runs if run.device_name), profile.machine.cpu),
    )
