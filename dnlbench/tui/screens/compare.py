"""The screen that holds saved profiles against a reference, or shows a single one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from dnlbench import units
from dnlbench.compare import Comparison, compare
from dnlbench.errors import NotComparableError, ProfileError
from dnlbench.profiles import Profile, read_profile
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_markdown
from dnlbench.report.fits import fit_grids
from dnlbench.report.grid import STYLES, Grid
from dnlbench.report.profile import profile_csv, profile_facts, profile_grids
from dnlbench.studies import Quantity
from dnlbench.tui.figures import (
    CURVE_METRICS,
    OVERS,
    CurveMetric,
    curve_metrics,
    depth_figure,
    depth_quantities,
    epoch_figure,
    letter,
)
from dnlbench.tui.plot.figure import Figure
from dnlbench.tui.widgets.chart import NOTHING, Chart
from dnlbench.tui.widgets.grid_view import WORD_MARKS, GridView
from dnlbench.tui.widgets.key_line import KeyLine

NAMED_SHORT, NAMED_TALL = 3, 8
"""Profiles that the heading has a line for, in a terminal of few and of many rows."""
WIDE_HEADING = 100
"""Columns from which on the heading has the time of day."""
LONGEST_NAME = 24
"""Columns of a name in the heading."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file that was asked for."""

    letter: str
    path: Path
    profile: Profile | None
    metrics: tuple[CurveMetric, ...] = ()
    """What its epochs hold."""
    quantities: tuple[Quantity, ...] = ()
    """What its points hold."""
    problem: str = ""
    """Why it could not be read; empty if it could."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the screen shows of one candidate, or of a single profile."""

    said: Text
    """Above the tables: the verdicts in short, or why there are none."""
    grids: tuple[Grid, ...] = ()
    entries: tuple[Entry, ...] = ()
    """Those whose curves are drawn, the reference first."""
    comparison: Comparison | None = None


def read_entries(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """The profiles, or why there are none."""
    return tuple(_read(path, letter(place)) for place, path in enumerate(paths))


def _read(path: Path, name: str) -> Entry:
    try:
        profile = read_profile(path)
    except ProfileError as error:
        return Entry(letter=name, path=path, profile=None, problem=str(error))
    metrics, quantities = curve_metrics([profile]), depth_quantities([profile])
    return Entry(letter=name, path=path, profile=profile, metrics=metrics, quantities=quantities)


def show_one(entry: Entry) -> Shown:
    """A profile by itself."""
    if entry.profile is None:
        return Shown(said=Text(f"✗ {entry.problem}", STYLES["failed"]))
    return Shown(said=Text(profile_facts(entry.profile)), grids=tuple(profile_grids(entry.profile)), entries=(entry,))


def hold_against(reference: Entry, candidate: Entry) -> Shown:
    """A candidate against the reference; by itself, with the reason, where that cannot be."""
    alone = show_one(candidate)
    if reference.profile is None:
        return _instead(alone, f"✗ the reference cannot be read: {reference.problem}")
    if candidate.profile is None:
        return _instead(show_one(reference), f"✗ {candidate.letter}: {candidate.problem}")
    try:
        comparison = compare(reference.profile, candidate.profile)
    except NotComparableError as error:
        return _instead(alone, f"– {candidate.letter} is not comparable with {reference.letter}: {error}")
    return Shown(
        said=_verdicts(comparison, reference, candidate),
        grids=(*comparison_grids(comparison), *_fits((reference, candidate))),
        entries=(reference, candidate),
        comparison=comparison,
    )


def _instead(alone: Shown, reason: str) -> Shown:
    return replace(alone, said=Text.assemble((reason, STYLES["inconclusive"]), "\n\n", alone.said))


def _verdicts(comparison: Comparison, reference: Entry, candidate: Entry) -> Text:
    """``B against A: ✓ 3 better   ✗ 1 worse``."""
    said = Text(f"{candidate.letter} against {reference.letter}:", "bold")
    for verdict, count in comparison.counts().items():
        said.append("  ")
        said.append(f"{WORD_MARKS[verdict]} {count} {verdict}", f"not bold {STYLES[verdict]}")
    return said


def _fits(entries: Sequence[Entry]) -> Iterator[Grid]:
    for entry in entries:
        if entry.profile is not None:
            yield from (replace(grid, title=f"{entry.letter}: {grid.title}") for grid in fit_grids(entry.profile))


def heading(entries: Sequence[Entry], chosen: int, width: int, most: int) -> Text:
    """A line for each profile: letter, role, name, date, machine and how its runs ended, ``▸`` before the chosen candidate.

    Where there are more than ``most``, the reference and those around the chosen one.
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
        parts = [_cut(part, size) for part, size in zip((name, date, ended), widths, strict=True)]
        line = Text("  ".join([start_of_line, *parts, machine]), "bold" if row == chosen else "")
        line.truncate(width, overflow="ellipsis")
        text.append_text(line)
        text.append("" if row == rows[-1] else "\n")
    return text


def _described(entry: Entry, *, brief: bool) -> tuple[str, str, str, str]:
    """Name, date, how its runs ended, machine."""
    profile = entry.profile
    if profile is None:
        return entry.path.name, "", "✗ cannot be read", ""
    devices = ", ".join(dict.fromkeys(device.name for device in profile.machine.devices))
    well, runs = sum(run.status == "ok" for run in profile.runs), len(profile.runs)
    return (
        profile.name,
        f"{profile.created:%Y-%m-%d}" if brief else f"{profile.created:%Y-%m-%d %H:%M} UTC",
        f"✓ {runs} runs" if well == runs else f"✗ {well}/{runs} runs",
        f"{devices}, {profile.machine.cores} cores",
    )


def _cut(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def file_stem(entries: Sequence[Entry]) -> str:
    """What exported files are named: after the sweeps, whatever characters their names are made of."""
    names = dict.fromkeys(entry.profile.name for entry in entries if entry.profile is not None)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-vs-".join(names)).strip(".-")[:100] or "profile"


def write_new(folder: Path, stem: str, contents: dict[str, str]) -> list[Path]:
    """Writes files of one stem, by suffix, with the first number behind it that none of them is taken with."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        targets = {folder / f"{name}{suffix}": text for suffix, text in contents.items()}
        if not any(path.exists() for path in targets):
            break
        number += 1
    for path, text in targets.items():
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    return list(targets)


class CompareScreen(Screen[None]):
    """One profile as tables and chart; or a reference, the first, and the candidates that are held against it."""

    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#tables-pane"
    HELP = """\
# Profiles

One profile: its results by network and depth, what follows for growing depth, and the runs that did not end well.
Several: the first, **A**, is the reference, the others are candidates.

What **differs** in spec, machine and code stands first: it decides whether the rest means anything.
The **ratio** is candidate / reference with its 95 % interval. Verdicts:

- ✓ better, ✗ worse: the whole interval is on one side of 1
- = no difference: the whole interval is within the tolerance
- ? inconclusive: the interval holds 1; more seeds may decide
- – not comparable: the reason stands below the table

In the **chart** A is solid, candidates are dashed; equal colours mean equal network and depth.
Time is that of training alone.

`n` and `N` go through the candidates, `a` draws all of them. `d` goes from curves over epochs to results against depth and
back, `m` and `v` choose what is drawn, `t` over what.

`e` writes chart (SVG) and table (CSV) to the current folder and never overwrites a file.
`y` copies the tables as Markdown, if the terminal lets programs copy.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "candidate(1)", "next", id="compare.next"),
        Binding("N", "candidate(-1)", "previous", id="compare.previous", show=False),
        Binding("1", "pane('tables')", "tables", id="compare.tables"),
        Binding("2", "pane('chart')", "chart", id="compare.chart"),
        Binding("d", "kind", "depth", id="compare.kind"),
        Binding("m", "metric", "metric", id="compare.metric"),
        Binding("t", "over", "axis", id="compare.over"),
        Binding("v", "quantity", "quantity", id="compare.quantity"),
        Binding("a", "all", "all in chart", id="compare.all", show=False),
        Binding("e", "export", "export", id="compare.export"),
        Binding("y", "copy", "copy", id="compare.copy"),
    ]

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = tuple(paths)
        self._entries: tuple[Entry, ...] = ()
        self._all_shown: tuple[Shown, ...] = ()
        self._candidate = 0
        self._metric = self._over = self._quantity = 0
        self._asks_for_depth = self._draws_all = False

    def compose(self) -> ComposeResult:
        """Heading, chart and tables."""
        yield Static("reading …", id="heading")
        with Container(id="panes"):
            with Container(id="chart-pane"):
                yield Chart(id="chart")
            with VerticalScroll(id="tables-pane"):
                yield Static(id="said")
                yield GridView(id="tables")
        yield KeyLine()

    def on_mount(self) -> None:
        """Starts to read."""
        self._start_reading()

    def on_resize(self) -> None:
        """The heading has as many lines, and keys have as much to choose from, as there is room for."""
        if self._entries:
            self._put_heading()
        self.refresh_bindings()

    @work(exclusive=True, group="compare.load")
    async def _start_reading(self) -> None:
        self._entries, self._all_shown = await asyncio.to_thread(_load, self._paths)
        self._put()

    @property
    def _has_room(self) -> bool:
        """Whether tables and chart are on the screen together."""
        return any(self.has_class(size) for size in ("-wide", "-very-wide", "-tall", "-very-tall"))

    @property
    def _shown(self) -> Shown:
        return self._all_shown[self._candidate] if self._all_shown else Shown(said=Text())

    @property
    def _drawn(self) -> tuple[Entry, ...]:
        """The entries in the chart."""
        if not (self._draws_all and self._shown.comparison):
            return self._shown.entries
        others = (shown.entries[1:] for shown in self._all_shown if shown.comparison)
        return (self._entries[0], *(entry for entries in others for entry in entries))

    @property
    def _profiles(self) -> list[Profile]:
        return [entry.profile for entry in self._drawn if entry.profile is not None]

    @property
    def _curve_metrics(self) -> tuple[CurveMetric, ...]:
        return tuple(metric for metric in CURVE_METRICS if any(metric in entry.metrics for entry in self._drawn))

    @property
    def _quantities(self) -> tuple[Quantity, ...]:
        return tuple(dict.fromkeys(quantity for entry in self._drawn for quantity in entry.quantities))

    @property
    def _draws_depth(self) -> bool:
        return self._asks_for_depth or not self._curve_metrics

    def _put(self) -> None:
        """Everything, after the candidate was chosen."""
        self._put_heading()
        said = self._shown.said
        # as shades of grey, which a terminal without colours gets, some colours are nearly black
        self.query_one("#said", Static).update(Text(said.plain) if self.app.no_color else said)
        self.query_one("#tables", GridView).show(self._shown.grids)
        self.query_one("#tables-pane", VerticalScroll).scroll_home(animate=False)
        self._put_chart()

    def _put_heading(self) -> None:
        several = len(self._entries) > 1
        most = NAMED_SHORT if self.app.size.height < 30 else NAMED_TALL
        place = self._candidate + 1 if several else 0
        content = Text("no profile")
        if several:
            content = heading(self._entries, place, self.app.size.width - 2, most)
        elif self._entries:
            profile = self._entries[0].profile
            content = Text(f"profile ▸ {profile.name if profile else self._entries[0].path.name}", "bold")
        self.query_one("#heading", Static).update(content)

    @work(exclusive=True, group="compare.figure")
    async def _put_chart(self) -> None:
        """In a thread: bands over many seeds and epochs take a while."""
        self.refresh_bindings()
        figure = await asyncio.to_thread(self._figure())
        chart = self.query_one("#chart", Chart)
        chart.figure = figure
        chart.view = replace(chart.view, log_x=None, log_y=None, x=None, y=None, cursor=None)  # they were of other axes

    def _figure(self) -> Callable[[], Figure]:
        """What makes the figure that was asked for."""
        letters = [entry.letter for entry in self._drawn] if len(self._drawn) > 1 else []
        ansi = self.app.native_ansi_color
        if not self._draws_depth:
            metric = self._curve_metrics[self._metric % len(self._curve_metrics)]
            return partial(epoch_figure, self._profiles, metric, OVERS[self._over], letters=letters, ansi=ansi)
        if not self._quantities:
            return partial(replace, NOTHING, empty="nothing to draw")
        quantity = self._quantities[self._quantity % len(self._quantities)]
        return partial(depth_figure, [p.summary for p in self._profiles], quantity, letters=letters, ansi=ansi)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only the keys that do something here and now."""
        several = sum(len(shown.entries) > 1 for shown in self._all_shown) > 1
        applies = {
            "candidate": len(self._all_shown) > 1,
            "pane": not self._has_room and parameters != ("chart" if self.has_class("-chart") else "tables",),
            "all": several,
            "kind": bool(self._curve_metrics),
            "metric": not self._draws_depth and len(self._curve_metrics) > 1,
            "over": not self._draws_depth,
            "quantity": self._draws_depth and len(self._quantities) > 1,
            "export": bool(self._profiles),
            "copy": bool(self._shown.grids),
        }
        return applies.get(action, True)

    def action_candidate(self, step: int) -> None:
        """The next candidate, around the end."""
        self._candidate = (self._candidate + step) % len(self._all_shown)
        self._put()

    def action_pane(self, name: str) -> None:
        """The tables or the chart: shows the one, where there is no room for both, and goes there."""
        self.set_class(name == "chart", "-chart")
        self.query_one("#chart" if name == "chart" else "#tables-pane").focus()
        self.refresh_bindings()

    def action_kind(self) -> None:
        """From curves over epochs to quantities against depth, and back."""
        self._asks_for_depth = not self._asks_for_depth
        self._look()

    def action_metric(self) -> None:
        """The next metric of the epochs."""
        self._metric = (self._metric + 1) % len(self._curve_metrics)
        self._look()

    def action_over(self) -> None:
        """Over epochs, training steps or training time."""
        self._over = (self._over + 1) % len(OVERS)
        self._look()

    def action_quantity(self) -> None:
        """The next quantity against depth."""
        self._quantity = (self._quantity + 1) % len(self._quantities)
        self._look()

    def action_all(self) -> None:
        """All candidates in the chart, or the chosen one."""
        self._draws_all = not self._draws_all
        self._look()

    def _look(self) -> None:
        """Draws anew, where it can be seen."""
        if not self._has_room and not self.has_class("-chart"):
            self.action_pane("chart")
        self._put_chart()

    def action_export(self) -> None:
        """The chart as SVG and the table as CSV, to new files in the current folder."""
        contents = {".svg": self.query_one("#chart", Chart).svg(), ".csv": self._csv()}
        try:
            written = write_new(Path.cwd(), file_stem(self._drawn), contents)
        except OSError as error:
            self.notify(f"export failed: {error.strerror or error}", severity="error", markup=False)
        else:
            self.notify("\n".join(str(path) for path in written), title="written", markup=False)

    def _csv(self) -> str:
        comparisons = [shown.comparison for shown in self._all_shown if shown.comparison]
        return comparison_csv(comparisons) if self._shown.comparison else profile_csv(self._profiles[0])

    def action_copy(self) -> None:
        """The tables that are shown, as Markdown."""
        if self._shown.comparison:
            text = comparison_markdown([self._shown.comparison])
        else:
            text = "\n\n".join(grid.to_markdown() for grid in self._shown.grids) + "\n"
        self.app.copy_to_clipboard(text)
        self.notify(f"{units.count(len(self._shown.grids))} tables as Markdown", title="copied")


def _load(paths: Sequence[Path]) -> tuple[tuple[Entry, ...], tuple[Shown, ...]]:
    """The profiles, and what is shown of each candidate; of a single profile, that."""
    entries = read_entries(paths)
    if len(entries) < 2:
        return entries, tuple(show_one(entry) for entry in entries)
    return entries, tuple(hold_against(entries[0], candidate) for candidate in entries[1:])
