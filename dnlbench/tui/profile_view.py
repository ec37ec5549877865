"""Content of the compare screen: a single profile, or a comparison of a candidate with the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from dnlbench.charts.depth import depth_quantities
from dnlbench.charts.epochs import metrics_of
from dnlbench.charts.source import letter, sources_of
from dnlbench.charts.terminal.text import shortened
from dnlbench.comparison import Comparison, compare
from dnlbench.errors import NotComparableError, ProfileError
from dnlbench.profiles import Profile, nodes_of, read_profile
from dnlbench.report.comparison import comparison_grids
from dnlbench.report.fits import fit_grids
from dnlbench.report.grid import STYLES, Grid
from dnlbench.report.profile import profile_grids, profile_header
from dnlbench.studies import EpochMetric, Quantity
from dnlbench.tui.widgets.grid_view import WORD_MARKS

WIDE_HEADING = 100
"""Minimum terminal width at which the heading has the time of day."""
LONGEST_NAME = 24
"""Maximum width of a name in the heading."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A profile to show, with its path."""

    letter: str
    path: Path
    profile: Profile | None
    metrics: tuple[EpochMetric, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    problem: str = ""
    """Why the file cannot be read; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class ProfileView:
    """Content for one candidate, or for a single profile."""

    summary: Text
    """Text above the tables: the number of verdicts of each kind, or why there are none."""
    grids: tuple[Grid, ...] = ()
    entries: tuple[Entry, ...] = ()
    """The profiles to plot, the reference first."""
    comparison: Comparison | None = None


def read_entries(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """Read profiles; an entry without a profile has a problem."""
    return tuple(_read(path, letter(index)) for index, path in enumerate(paths))


def _read(path: Path, name: str) -> Entry:
    try:
        profile = read_profile(path)
    except ProfileError as error:
        return Entry(letter=name, path=path, profile=None, problem=str(error))
    sources = sources_of([profile])
    metrics, quantities = metrics_of(sources), depth_quantities(sources)
    return Entry(letter=name, path=path, profile=profile, metrics=metrics, quantities=quantities)


def single_view(entry: Entry) -> ProfileView:
    """Return the view of a single profile."""
    if entry.profile is None:
        return ProfileView(summary=Text(f"✗ {entry.problem}", STYLES["failed"]))
    return ProfileView(
        summary=Text(profile_header(entry.profile)), grids=tuple(profile_grids(entry.profile)), entries=(entry,)
    )


def compare_entries(reference: Entry, candidate: Entry) -> ProfileView:
    """Compare a candidate with the reference. If they are not comparable, return the candidate alone with the reason."""
    alone = single_view(candidate)
    if reference.profile is None:
        return _instead(alone, f"✗ the reference cannot be read: {reference.problem}")
    if candidate.profile is None:
        return _instead(single_view(reference), f"✗ {candidate.letter}: {candidate.problem}")
    try:
        comparison = compare(reference.profile, candidate.profile)
    except NotComparableError as error:
        return _instead(alone, f"– {candidate.letter} is not comparable with {reference.letter}: {error}")
    return ProfileView(
        summary=_verdicts(comparison, reference, candidate),
        grids=(*comparison_grids(comparison), *_fits((reference, candidate))),
        entries=(reference, candidate),
        comparison=comparison,
    )


def _instead(alone: ProfileView, reason: str) -> ProfileView:
    return replace(alone, summary=Text.assemble((reason, STYLES["inconclusive"]), "\n\n", alone.summary))


def _verdicts(comparison: Comparison, reference: Entry, candidate: Entry) -> Text:
    """Return ``B compared with A: ✓ 3 better   ✗ 1 worse``."""
    summary = Text(f"{candidate.letter} compared with {reference.letter}:", "bold")
    for verdict, count in comparison.counts().items():
        summary.append("  ")
        summary.append(f"{WORD_MARKS[verdict]} {count} {verdict}", f"not bold {STYLES[verdict]}")
    return summary


def _fits(entries: Sequence[Entry]) -> Iterator[Grid]:
    for entry in entries:
        if entry.profile is not None:
            yield from (replace(grid, title=f"{entry.letter}: {grid.title}") for grid in fit_grids(entry.profile))


def heading(entries: Sequence[Entry], chosen: int, width: int, most: int) -> Text:
    """Return a line for each profile: letter, role, name, date, number of runs and machine.

    Args:
        entries: all profiles, the reference first.
        chosen: index of the candidate to mark with ``▸``.
        width: cells of a line.
        most: maximum number of lines; if there are more profiles, those near the chosen one are listed.
    """
    rows = list(range(len(entries)))
    if len(entries) > most:
        start = min(max(1, chosen - most + 2), len(entries) - most + 1)
        rows = [0, *range(start, start + most - 1)]
    cells = [_described(entries[row], brief=width < WIDE_HEADING) for row in rows]
    widths = [min(LONGEST_NAME, max(len(row[column]) for row in cells)) for column in range(3)]
    text = Text(no_wrap=True, overflow="ellipsis")
    for row, (name, date, ended, machine) in zip(rows, cells, strict=True):
        role = "reference" if row == 0 else "candidate"
        if len(rows) < len(entries):
            role = role.ljust(13) if row == 0 else f"{role} {row}/{len(entries) - 1}".ljust(13)
        start_of_line = f"{'▸' if row == chosen else ' '} {entries[row].letter} {role}"
        parts = [shortened(part, size).ljust(size) for part, size in zip((name, date, ended), widths, strict=True)]
        line = Text("  ".join([start_of_line, *parts, machine]), "bold" if row == chosen else "")
        line.truncate(width, overflow="ellipsis")
        text.append_text(line)
        text.append("" if row == rows[-1] else "\n")
    return text


def _described(entry: Entry, *, brief: bool) -> tuple[str, str, str, str]:
    """Return name, date, number of runs and machine."""
    profile = entry.profile
    if profile is None:
        return entry.path.name, "", "✗ cannot be read", ""
    well, runs = sum(run.status == "ok" for run in profile.runs), len(profile.runs)
    return (
        profile.name,
        f"{profile.created:%Y-%m-%d}" if brief else f"{profile.created:%Y-%m-%d %H:%M} UTC",
        f"✓ {runs} runs" if well == runs else f"✗ {well}/{runs} runs",
        _where(profile),
    )


def _where(profile: Profile) -> str:
    """Return the devices of the machine, or of the cluster nodes."""
    if uses := nodes_of(profile.runs):
        devices = ", ".join(dict.fromkeys(name for use in uses for name in use.devices))
        return f"{devices}, {len(uses)} node{'' if len(uses) == 1 else 's'}"
    devices = ", ".join(dict.fromkeys(device.name for device in profile.machine.devices))
    return f"{devices}, {profile.machine.cores} cores"


def file_stem(entries: Sequence[Entry]) -> str:
    """Return the names of the sweeps as a file name without unsafe characters."""
    names = dict.fromkeys(entry.profile.name for entry in entries if entry.profile is not None)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-vs-".join(names)).strip(".-")[:100] or "profile"
