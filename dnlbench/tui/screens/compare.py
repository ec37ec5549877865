"""The screen that compares saved profiles with a reference, or shows a single profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from dnlbench.charts.budgets import budget_chart
from dnlbench.charts.depth import depth_chart
from dnlbench.charts.epochs import OVERS, epoch_chart
from dnlbench.charts.model import Chart
from dnlbench.charts.source import sources_of
from dnlbench.profiles import Profile
from dnlbench.profiles.budgets import BUDGETS
from dnlbench.report.comparison import comparison_csv, with_distinct_titles
from dnlbench.report.markdown import comparison_markdown
from dnlbench.report.profile import profile_csv
from dnlbench.studies import EpochMetric, Quantity
from dnlbench.studies.base import TUNED_LOSS
from dnlbench.tui.depth import axis_chart
from dnlbench.tui.export import export
from dnlbench.tui.profile_view import Entry, ProfileView, compare_entries, file_stem, heading, read_entries, single_view
from dnlbench.tui.widgets.chart import NOTHING, ChartView
from dnlbench.tui.widgets.grid_view import GridView
from dnlbench.tui.widgets.key_line import KeyLine

NAMED_SHORT, NAMED_TALL = 3, 8
"""Maximum lines of the heading in short and in tall terminals."""


class CompareScreen(Screen[None]):
    """A profile as tables and chart, or a comparison of candidates with a reference, which is the first profile."""

    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#tables-pane"
    HELP = """\
# Profiles

One profile: results by network and depth, tests of each depth against the previous one and of each network against the
first one, fits over depth, and the runs that failed.
Several profiles: the first, **A**, is the reference. The others are candidates.

Differences in spec, machine and code come first, because they affect the comparison.
The **ratio** is candidate / reference with its 95 % confidence interval. Verdicts:

- ✓ better, ✗ worse: the interval excludes 1, and p is below 0.05 after Holm's correction for all tests of the table
- = no difference: the interval is within the tolerance
- ? inconclusive: the interval contains 1; more seeds may help
- – not comparable: see the reason below the table

In the **chart**, A is solid and candidates are dashed. Equal colors mean equal network and depth.
Time is training time only.

`n` and `N` select the next and the previous candidate, `a` plots all of them. `d` switches between curves over epochs and
results over depth. `m` and `v` select the metric, `t` the x axis: for a loss depth, parameters, FLOPs, time or memory, and
for the loss at the best value of a tuned setting also that setting, by network.

`e` exports the chart (SVG) and the table (CSV) to the current folder. It never overwrites a file.
`y` copies the tables as Markdown, if the terminal supports it.
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
        self._views: tuple[ProfileView, ...] = ()
        self._candidate = 0
        self._metric = self._over = self._quantity = self._budget = 0
        self._depth_requested = self._plots_all = False

    def compose(self) -> ComposeResult:
        yield Static("reading …", id="heading")
        with Container(id="panes"):
            with Container(id="chart-pane"):
                yield ChartView(id="chart")
            with VerticalScroll(id="tables-pane"):
                yield Static(id="summary")
                yield GridView(id="tables")
        yield KeyLine()

    def on_mount(self) -> None:
        self._start_reading()

    def on_resize(self) -> None:
        """Update the heading and the available keys, which depend on the size."""
        if self._entries:
            self._put_heading()
        self.refresh_bindings()

    @work(exclusive=True, group="compare.load")
    async def _start_reading(self) -> None:
        self._entries, self._views = await asyncio.to_thread(_load, self._paths)
        self._put()

    @property
    def _has_room(self) -> bool:
        """True if the tables and the chart are visible together."""
        return any(self.has_class(size) for size in ("-wide", "-very-wide", "-tall", "-very-tall"))

    @property
    def _view(self) -> ProfileView:
        return self._views[self._candidate] if self._views else ProfileView(summary=Text())

    @property
    def _plotted(self) -> tuple[Entry, ...]:
        if not (self._plots_all and self._view.comparison):
            return self._view.entries
        others = (view.entries[1:] for view in self._views if view.comparison)
        return (self._entries[0], *(entry for entries in others for entry in entries))

    @property
    def _profiles(self) -> list[Profile]:
        return [entry.profile for entry in self._plotted if entry.profile is not None]

    @property
    def _curve_metrics(self) -> tuple[EpochMetric, ...]:
        return tuple(dict.fromkeys(metric for entry in self._plotted for metric in entry.metrics))

    @property
    def _quantities(self) -> tuple[Quantity, ...]:
        return tuple(dict.fromkeys(quantity for entry in self._plotted for quantity in entry.quantities))

    @property
    def _chosen_quantity(self) -> Quantity:
        return self._quantities[self._quantity % len(self._quantities)]

    @property
    def _has_budgets(self) -> bool:
        """True if the selected quantity is a loss that its study shows against budgets."""
        declared = (name for profile in self._profiles for name, _ in profile.declared.against_budget)
        return bool(self._quantities) and self._chosen_quantity.name in declared

    @property
    def _is_tuned(self) -> bool:
        """True if the selected quantity is the loss at the best value of a setting."""
        return bool(self._quantities) and self._chosen_quantity.name == TUNED_LOSS

    @property
    def _plots_depth(self) -> bool:
        return self._depth_requested or not self._curve_metrics

    def _put(self) -> None:
        self._put_heading()
        summary = self._view.summary
        # without colors Textual converts them to shades of gray, some of which are nearly black
        self.query_one("#summary", Static).update(Text(summary.plain) if self.app.no_color else summary)
        self.query_one("#tables", GridView).show(self._view.grids)
        self.query_one("#tables-pane", VerticalScroll).scroll_home(animate=False)
        self._put_chart()

    def _put_heading(self) -> None:
        several = len(self._entries) > 1
        most = NAMED_SHORT if self.app.size.height < 30 else NAMED_TALL
        index = self._candidate + 1 if several else 0
        content = Text("no profile")
        if several:
            content = heading(self._entries, index, self.app.size.width - 2, most)
        elif self._entries:
            profile = self._entries[0].profile
            content = Text(f"profile ▸ {profile.name if profile else self._entries[0].path.name}", "bold")
        self.query_one("#heading", Static).update(content)

    @work(exclusive=True, group="compare.chart")
    async def _put_chart(self) -> None:
        """Compute the chart in a thread, because bands over many seeds and epochs take a while."""
        self.refresh_bindings()
        chart = await asyncio.to_thread(self._chart())
        chart_view = self.query_one("#chart", ChartView)
        chart_view.chart = chart
        chart_view.view = replace(chart_view.view, log_x=None, log_y=None, x=None, y=None, cursor=None)  # of other axes

    def _chart(self) -> Callable[[], Chart]:
        """Return the function that computes the selected chart."""
        profiles = self._profiles
        letters = [entry.letter for entry in self._plotted] if len(profiles) > 1 else []
        sources = sources_of(profiles, letters) if profiles else ()
        if not self._plots_depth:
            metric = self._curve_metrics[self._metric % len(self._curve_metrics)]
            return partial(epoch_chart, sources, metric, OVERS[self._over])
        if not self._quantities:
            return partial(replace, NOTHING, empty="nothing to plot")
        if self._is_tuned:
            return partial(axis_chart, sources, self._chosen_quantity, self._budget)
        if (budget := self._budget % (1 + len(BUDGETS))) and self._has_budgets:
            return partial(budget_chart, sources, self._chosen_quantity, BUDGETS[budget - 1])
        return partial(depth_chart, sources, self._chosen_quantity)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        several = sum(len(view.entries) > 1 for view in self._views) > 1
        applies = {
            "candidate": len(self._views) > 1,
            "pane": not self._has_room and parameters != ("chart" if self.has_class("-chart") else "tables",),
            "all": several,
            "kind": bool(self._curve_metrics),
            "metric": not self._plots_depth and len(self._curve_metrics) > 1,
            "over": self._has_budgets or self._is_tuned if self._plots_depth else True,
            "quantity": self._plots_depth and len(self._quantities) > 1,
            "export": bool(self._profiles),
            "copy": bool(self._view.grids),
        }
        return applies.get(action, True)

    def action_candidate(self, step: int) -> None:
        self._candidate = (self._candidate + step) % len(self._views)
        self._put()

    def action_pane(self, name: str) -> None:
        """Focus the tables or the chart; show that one if there is no room for both."""
        self.set_class(name == "chart", "-chart")
        self.query_one("#chart" if name == "chart" else "#tables-pane").focus()
        self.refresh_bindings()

    def action_kind(self) -> None:
        self._depth_requested = not self._depth_requested
        self._show_choice()

    def action_metric(self) -> None:
        self._metric = (self._metric + 1) % len(self._curve_metrics)
        self._show_choice()

    def action_over(self) -> None:
        if self._plots_depth:
            self._budget += 1
        else:
            self._over = (self._over + 1) % len(OVERS)
        self._show_choice()

    def action_quantity(self) -> None:
        self._quantity = (self._quantity + 1) % len(self._quantities)
        self._show_choice()

    def action_all(self) -> None:
        self._plots_all = not self._plots_all
        self._show_choice()

    def _show_choice(self) -> None:
        """Update the chart and make it visible."""
        if not self._has_room and not self.has_class("-chart"):
            self.action_pane("chart")
        self._put_chart()

    def action_export(self) -> None:
        """Export the chart as SVG and the table as CSV to new files in the current folder."""
        contents = {".svg": self.query_one("#chart", ChartView).svg(), ".csv": self._csv()}
        text, severity = export(file_stem(self._plotted), contents)
        self.notify(text, severity=severity, markup=False)

    def _csv(self) -> str:
        if not self._view.comparison:
            return profile_csv(self._profiles[0])
        compared = [(view.comparison, view.entries[1].path) for view in self._views if view.comparison]
        comparisons, files = [comparison for comparison, _ in compared], [path for _, path in compared]
        return comparison_csv(with_distinct_titles(comparisons, self._view.entries[0].path, files))

    def action_copy(self) -> None:
        if self._view.comparison:
            text = comparison_markdown([self._view.comparison])
        else:
            text = "\n\n".join(grid.to_markdown() for grid in self._view.grids) + "\n"
        self.app.copy_to_clipboard(text)
        self.notify(f"{units.count(len(self._view.grids))} tables as Markdown", title="Copied")


def _load(paths: Sequence[Path]) -> tuple[tuple[Entry, ...], tuple[ProfileView, ...]]:
    """Return the profiles, and the view of each candidate or of the single profile."""
    entries = read_entries(paths)
    if len(entries) < 2:
        return entries, tuple(single_view(entry) for entry in entries)
    return entries, tuple(compare_entries(entries[0], candidate) for candidate in entries[1:])
