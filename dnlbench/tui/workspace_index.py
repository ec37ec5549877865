"""Index of the specs, sweeps and profiles in a folder. Polling reads only files that have changed.

Profiles are read without the measurements of their runs. Unreadable files are listed with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dnlbench.errors import DnlbenchError
from dnlbench.files import Stamp, file_stamp, read_text

if TYPE_CHECKING:  # imported where needed at run time: the imports would delay the first paint
    from dnlbench.store.workspace import SweepEntry, Workspace

E = TypeVar("E")
D = TypeVar("D", "SweepEntry", "ProfileEntry")


@dataclass(frozen=True, kw_only=True)
class SpecEntry:
    """A spec: a preset or a file in ``sweeps``."""

    name: str
    spec: str
    """Argument for ``dnlbench run``: a preset's name or a path."""
    text: str
    preset: bool
    summary: str = ""
    runs: int | None = None
    problem: str = ""
    """Why the spec is invalid; empty if it is valid."""


@dataclass(frozen=True, kw_only=True)
class ProfileEntry:
    """A saved profile."""

    path: Path
    name: str
    study: str = ""
    state: str = ""
    created: datetime | None = None
    machine: str = ""
    """Name of the device."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Values as text by dotted key."""
    differing: str = ""
    """Settings that differ among profiles with the same sweep name and study."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkspaceEntries:
    """All entries, as of one poll."""

    specs: tuple[SpecEntry, ...]
    sweeps: tuple[SweepEntry, ...]
    profiles: tuple[ProfileEntry, ...]


class WorkspaceIndex:
    """Index of a folder. Its methods must not be called from two threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._presets: tuple[SpecEntry, ...] | None = None
        self._specs: dict[Path, tuple[Stamp, SpecEntry]] = {}
        self._profiles: dict[Path, tuple[Stamp, ProfileEntry]] = {}
        self._workspace: Workspace | None = None

    def poll(self) -> WorkspaceEntries:
        """Return all entries."""
        return WorkspaceEntries(specs=self.specs(), sweeps=self.sweeps(), profiles=self.profiles())

    def specs(self) -> tuple[SpecEntry, ...]:
        """Return the presets, then the specs in ``sweeps``, both by name."""
        if self._presets is None:
            self._presets = _read_presets()
        self._specs = _changed((self._folder / "sweeps").glob("*.toml"), self._specs, _read_spec)
        return (*self._presets, *(entry for _, entry in self._specs.values()))

    def sweeps(self) -> tuple[SweepEntry, ...]:
        """Return the sweeps: running ones first, then the most recently active."""
        from dnlbench.store.workspace import RUNS, Workspace

        self._workspace = self._workspace or Workspace(self._folder / RUNS)
        entries = _with_differing(
            replace(entry, problem=_without_path(entry.problem, str(entry.run_dir))) for entry in self._workspace.poll()
        )
        return tuple(sorted(entries, key=lambda entry: (not entry.at_work, -entry.active)))

    def profiles(self) -> tuple[ProfileEntry, ...]:
        """Return the profiles, the newest first. Unreadable files come last."""
        self._profiles = _changed((self._folder / "profiles").glob("*.json"), self._profiles, read_profile_entry)
        entries = _with_differing(entry for _, entry in self._profiles.values())
        return tuple(sorted(entries, key=lambda entry: -entry.created.timestamp() if entry.created else 0.0))


def _with_differing(unresolved: Iterable[D]) -> Iterator[D]:
    from dnlbench.spec.settings import differing_settings

    entries = list(unresolved)
    texts = differing_settings([entry.settings for entry in entries])
    return (replace(entry, differing=text) for entry, text in zip(entries, texts, strict=True))


def _changed(
    paths: Iterable[Path], known: Mapping[Path, tuple[Stamp, E]], read: Callable[[Path], E]
) -> dict[Path, tuple[Stamp, E]]:
    """Return the entry of each path; read only files that have changed."""
    result = {}
    for path in sorted(paths):
        stamp = file_stamp(path)
        before = known.get(path)
        if stamp is not None:
            result[path] = before if before and before[0] == stamp else (stamp, read(path))
    return result


def _without_path(message: str, path: str) -> str:
    """Return the first line of a message without the path, which the list shows anyway."""
    message = re.sub(r"\s+", " ", message.partition("\n")[0]).replace(f"{path}/", "").removeprefix(path)
    return re.sub(r"^:(\d+): ", r"line \1: ", message).removeprefix(": ")


def _read_presets() -> tuple[SpecEntry, ...]:
    from dnlbench.spec import list_presets

    return tuple(
        _spec_entry(name=preset.name, spec=preset.name, text=preset.text, preset=True) for preset in list_presets()
    )


def _read_spec(path: Path) -> SpecEntry:
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
        problem = _without_path(str(error), spec)
        return SpecEntry(name=name, spec=spec, text=text, preset=preset, summary=summary, problem=problem)
    runs = len(parsed.points) * len(parsed.seeds)
    return SpecEntry(name=name, spec=spec, text=text, preset=preset, summary=summary, runs=runs)


def read_profile_entry(path: Path) -> ProfileEntry:
    """Read a profile's metadata without the measurements of its runs, or the reason why it cannot be read."""
    from dnlbench.profiles import read_listed, settings_text

    try:
        profile = read_listed(path)
    except DnlbenchError as error:
        return ProfileEntry(path=path, name=path.stem, problem=_without_path(str(error), str(path)))
    return ProfileEntry(
        path=path,
        name=path.stem,
        study=profile.study,
        state=profile.state,
        created=profile.created,
        settings=settings_text(profile.spec),
        machine=next((run.device_name for run in profile.runs if run.device_name), profile.machine.cpu),
    )
