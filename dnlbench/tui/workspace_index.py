"""What there is below a folder: specs to start from, sweeps, profiles. Read anew only where a file has changed.

Of a profile the facts are read without its figures. What cannot be read is listed with the reason.
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

if TYPE_CHECKING:  # at run time where they are needed: they take longer than a first paint may
    from dnlbench.store.workspace import SweepEntry, Workspace

E = TypeVar("E")
D = TypeVar("D", "SweepEntry", "ProfileEntry")


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
class WorkspaceEntries:
    """Everything, at one look."""

    specs: tuple[SpecEntry, ...]
    sweeps: tuple[SweepEntry, ...]
    profiles: tuple[ProfileEntry, ...]


class WorkspaceIndex:
    """Looks below a folder, again and again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._presets: tuple[SpecEntry, ...] | None = None
        self._specs: dict[Path, tuple[Stamp, SpecEntry]] = {}
        self._profiles: dict[Path, tuple[Stamp, ProfileEntry]] = {}
        self._workspace: Workspace | None = None

    def poll(self) -> WorkspaceEntries:
        """What there is now. Not for two threads at once."""
        return WorkspaceEntries(specs=self.specs(), sweeps=self.sweeps(), profiles=self.profiles())

    def specs(self) -> tuple[SpecEntry, ...]:
        """Presets, then the folder's own specs in ``sweeps``, each by name."""
        if self._presets is None:
            self._presets = _read_presets()
        self._specs = _changed((self._folder / "sweeps").glob("*.toml"), self._specs, _read_spec)
        return (*self._presets, *(entry for _, entry in self._specs.values()))

    def sweeps(self) -> tuple[SweepEntry, ...]:
        """Those at work first, then the one at work last."""
        from dnlbench.store.workspace import RUNS, Workspace

        self._workspace = self._workspace or Workspace(self._folder / RUNS)
        entries = _with_differing(
            replace(entry, problem=_without_path(entry.problem, str(entry.run_dir))) for entry in self._workspace.poll()
        )
        return tuple(sorted(entries, key=lambda entry: (not entry.at_work, -entry.active)))

    def profiles(self) -> tuple[ProfileEntry, ...]:
        """The newest first; what is none last."""
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
    """What was read of each path before where its file is still the same, what is read of it now elsewhere."""
    result = {}
    for path in sorted(paths):
        stamp = file_stamp(path)
        before = known.get(path)
        if stamp is not None:
            result[path] = before if before and before[0] == stamp else (stamp, read(path))
    return result


def _without_path(message: str, path: str) -> str:
    """The first line of a message without the path, which stands beside it."""
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
    """What a profile is, without the figures of its runs; or why it is none."""
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
