"""The screen of a sweep: curves, results over depth, devices, runs, and keys to control the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from dnlbench import units
from dnlbench.charts.epochs import OVERS
from dnlbench.store import RunDir
from dnlbench.studies import TRAIN_LOSS, Quantity
from dnlbench.tui.depth import result_chart
from dnlbench.tui.export import export
from dnlbench.tui.filter import FilterError, parse_filter
from dnlbench.tui.poller import Poller
from dnlbench.tui.rows import FIELDS, default_columns
from dnlbench.tui.screens.columns import Columns
from dnlbench.tui.screens.control import ControlScreen
from dnlbench.tui.view_model import Choice, SweepViewModel, ViewModelBuilder
from dnlbench.tui.widgets.chart import ChartView
from dnlbench.tui.widgets.devices import DevicePanel
from dnlbench.tui.widgets.headline import headline, state_of
from dnlbench.tui.widgets.key_line import KeyLine
from dnlbench.tui.widgets.runs_table import RunsTable

PAINT_S = 0.1
"""Minimum seconds between two paints."""
DRAWING_FRACTION = 0.1
"""Maximum fraction of the time for drawing curves."""
WIDE = 120
"""Minimum terminal width for a table with more columns; the style sheet has the same bound."""
PANELS = ("loss", "depth", "devices")


class SweepScreen(ControlScreen):
    """The screen of a run directory. Closing it, or a crash of it, does not affect the sweep."""

    CSS_PATH = "sweep.tcss"
    HELP = """
# A sweep

The screen shows the run directory. The engine is a separate process: after **q** the sweep continues.

- **1 2 3 4** go to the curves, to depth, to the devices and to the runs; **tab** goes to the next
- **m** shows the next metric, **t** changes the x axis (epochs, steps or time), **v** shows the next quantity over depth;
  a tuned sweep starts with the loss over the tuned setting, by network
- **space** pauses or resumes the marked runs, or the one under the cursor; **k** cancels and **r** retries them
- **P** pauses or resumes the sweep, **K** ends it, **R** retries all failed runs, **g** resumes an ended sweep
- **p** pauses or resumes the selected device; **D** also releases its memory
- **/** filters the runs, **enter** opens one, **e** exports the chart (SVG) or the table (CSV), **u** freezes the screen
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="sweep.filter"),
        Binding("m", "next_metric", "metric", id="sweep.metric"),
        Binding("t", "next_x", "x axis", show=False, id="sweep.x_axis"),
        Binding("v", "next_quantity", "quantity", show=False, id="sweep.quantity"),
        Binding("C", "columns", "columns", show=False, id="sweep.columns"),
        Binding("e", "export", "export", show=False, id="sweep.export"),
        Binding("u", "freeze", "freeze", show=False, id="sweep.hold"),
        Binding("1", "panel('loss')", "curves", show=False, id="sweep.curves"),
        Binding("2", "panel('depth')", "depth", show=False, id="sweep.depth"),
        Binding("3", "panel('devices')", "devices", show=False, id="sweep.devices"),
        Binding("4", "panel('runs')", "runs", show=False, id="sweep.runs"),
        Binding("escape", "close_filter", "close filter", show=False, id="sweep.close_filter"),
    ]

    def __init__(
        self, run_dir: RunDir, clock: Callable[[], float] = time.time, builder: ViewModelBuilder | None = None
    ) -> None:
        super().__init__(run_dir)
        self._clock = clock
        self._builder = builder or ViewModelBuilder()
        self._poller: Poller[SweepViewModel] = Poller(run_dir, self._builder, clock)
        self._depth_shown: tuple[Any, ...] = ()
        self._quantity = 0
        self._curves_due, self._curves_of = 0.0, Choice()
        self._frozen = False
        self._age, self._status_text = "", ("", "")
        self._engine_seen = False
        self._columns = default_columns(wide=False, has_epochs=True)

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="problem", markup=False)
        yield Static("[b]1[/] curves  [b]2[/] depth  [b]3[/] devices  [b]4[/] runs", id="tabs")
        with Horizontal(id="charts"):
            yield ChartView(id="loss")
            yield ChartView(id="depth")
        yield DevicePanel(id="devices")
        with Horizontal(id="runs-bar"):
            yield Input(placeholder="network=dense* depth>=8 or status=failed", id="filter", compact=True)
            yield Static(id="runs-line", markup=False)
        yield RunsTable(id="runs")
        yield Static(id="status", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one(RunsTable).focus()
        self._poller.start()
        self.set_interval(PAINT_S, self.paint)

    def on_unmount(self) -> None:
        self._poller.stop()
        self._builder.close()

    def paint(self) -> None:
        view_model = self._poller.latest
        if view_model is None:
            return
        self._choose_columns()
        self._show_age(view_model)
        self._paint_problem(self._poller.failure or view_model.snapshot.problem)
        if self._frozen:
            return
        self._paint_curves(view_model)
        if view_model is self._view_model:
            return
        if view_model.chart is None or view_model.depth is None:  # the next polls build them
            self._poller.wake()
        self._view_model = view_model
        self._paint_head(view_model)
        self._paint_depth(view_model)
        view = view_model.snapshot.view
        self.query_one(DevicePanel).update(view_model.devices, view, remote=view_model.remote)
        self.query_one(RunsTable).show(view_model.rows)
        self._paint_runs_line()
        self._notice_end(view_model)

    def _paint_head(self, view_model: SweepViewModel) -> None:
        view = view_model.snapshot.view
        name = view.plan.spec.name if view else self._run_dir.root.name
        self.query_one("#head", Static).update(
            headline(view_model.snapshot, name, self.size.width, colors=not self.app.no_color)
        )

    def _paint_problem(self, text: str) -> None:
        problem = self.query_one("#problem", Static)
        if text != problem.content:
            problem.update(text)
            problem.set_class(bool(text), "-shown")

    def _paint_curves(self, view_model: SweepViewModel) -> None:
        """Update the curves at once after a key, else seldom enough that drawing does not delay the keyboard."""
        chart, now = self.query_one("#loss", ChartView), time.monotonic()
        asked = view_model.choice != self._curves_of
        if view_model.chart is None or view_model.chart is chart.chart or not (asked or now >= self._curves_due):
            return
        chart.chart, self._curves_of = view_model.chart, view_model.choice
        self._curves_due = now + max(PAINT_S, chart.took_s / DRAWING_FRACTION)

    @property
    def _quantities(self) -> list[Quantity]:
        """The study's main quantity, and the others that some run has a value of."""
        depth = self._view_model.depth
        if depth is None:
            return []
        first, *others = depth.study.quantities
        return [first, *(q for q in others if any(q.name in point.quantities for point in depth.summary.all_points))]

    def _paint_depth(self, view_model: SweepViewModel) -> None:
        quantities = self._quantities
        if view_model.depth is None or not quantities:
            return
        if (view_model.depth, self._quantity) != self._depth_shown:
            self._depth_shown = (view_model.depth, self._quantity)
            self.query_one("#depth", ChartView).chart = result_chart([view_model.depth], quantities, self._quantity)

    def _paint_runs_line(self) -> None:
        table, total = self.query_one(RunsTable), len(self._view_model.rows)
        parts = [f"Runs: {table.shown} of {total}" if table.shown < total else f"Runs: {total}"]
        if table.selection.filter:
            parts.append(f"filter: {table.selection.filter}")
        if table.selection.order:
            parts.append(f"by {table.selection.order}{', descending' if table.selection.descending else ''}")
        if table.marked:
            parts.append(f"{len(table.marked)} marked")
        line = Text("   ".join(parts))
        if self.has_class("-short"):  # no room for a separate line
            line.append(f"   {self._age}", style="yellow" if self._frozen else "dim")
        self.query_one("#runs-line", Static).update(line)

    def _show_age(self, view_model: SweepViewModel) -> None:
        now, shown, updated_at = self._clock(), self._view_model.snapshot, view_model.snapshot.updated_at
        if self._frozen:
            text = age = f"frozen {_age(now - shown.polled_at)} ago; press u to update"
        else:
            age = f"updated {_age(now - updated_at)} ago" if updated_at else "no data yet"
            engine = f"engine {view_model.snapshot.engine}" if view_model.snapshot.engine else "no engine is running"
            text = f"{engine}; {age}   {self._run_dir.root}"
        if (text, age) == self._status_text:
            return
        self._status_text, self._age = (text, age), age
        status = self.query_one("#status", Static)
        status.update(text)
        status.set_class(self._frozen, "-paused")
        if self.has_class("-short"):
            self._paint_runs_line()

    def _notice_end(self, view_model: SweepViewModel) -> None:
        """Notify the user when the engine exits."""
        at_work = view_model.snapshot.engine is not None
        if self._engine_seen and not at_work and view_model.snapshot.view is not None:
            view = view_model.snapshot.view
            bad = len(view.not_ok)
            result = f"{units.counted(bad, 'run')} not ok" if bad else "all runs ok"
            text = f"{view.plan.spec.name}: {state_of(view_model.snapshot)}, {result}"
            self.app.notify(text, severity="warning" if view.not_ok else "information", timeout=20)
            self.app.bell()
            self._notify_desktop(text)
        self._engine_seen = at_work

    def _notify_desktop(self, text: str) -> None:
        """Write OSC 9, which some terminals show as a desktop notification and others ignore."""
        driver = self.app._driver
        if driver is not None and not self.app.is_headless:
            driver.write(f"\x1b]9;{text}\x07")

    def _choose_columns(self) -> None:
        """Select the columns that fit the terminal and the study, unless the user has selected others."""
        view, table = self._view_model.snapshot.view, self.query_one(RunsTable)
        has_epochs = view is None or view.plan.study.has_epochs
        self.set_class(not has_epochs, "-no-epochs")
        columns = default_columns(wide=self.size.width >= WIDE, has_epochs=has_epochs, metrics=self._view_model.metrics)
        if columns != self._columns and table.selection.columns == self._columns:
            self._columns = columns
            self._rearrange(columns=columns)

    def action_panel(self, name: str) -> None:
        """Focus a panel; show it if there is room for one only."""
        if name == "loss" and self.has_class("-no-epochs"):
            name = "depth"
        if name in PANELS:
            self.set_class(name == "depth", "-second")
            self.set_class(name == "devices", "-third")
        self.query_one(f"#{name}").focus()

    def action_next_metric(self) -> None:
        """Show the next metric, or the next quantity of a study without epochs."""
        if self.has_class("-no-epochs"):
            self.action_next_quantity()
            return
        metrics = self._view_model.metrics or (TRAIN_LOSS,)
        choice = self._builder.choice
        index = next((n for n, metric in enumerate(metrics) if metric.name == choice.metric.name), -1)
        self._choose(replace(choice, metric=metrics[(index + 1) % len(metrics)]))

    def action_next_x(self) -> None:
        choice = self._builder.choice
        self._choose(replace(choice, over=OVERS[(OVERS.index(choice.over) + 1) % len(OVERS)]))

    def _choose(self, choice: Choice) -> None:
        if choice != self._builder.choice:
            self._builder.choice = choice
            self._poller.wake()

    def action_next_quantity(self) -> None:
        self._quantity += 1
        self._paint_depth(self._view_model)

    def action_freeze(self) -> None:
        self._frozen = not self._frozen
        self.paint()

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.add_class("-shown")
        line.value = self.query_one(RunsTable).selection.filter
        line.focus()

    def action_close_filter(self) -> None:
        """Focus the table and keep the last valid filter."""
        self.query_one("#filter").remove_class("-shown")
        self.query_one(RunsTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter" and event.input.has_class("-shown"):
            self._rearrange(filter=event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_close_filter()

    def _rearrange(self, **changes: Any) -> None:
        table = self.query_one(RunsTable)
        selection = replace(table.selection, **changes)
        try:
            test = parse_filter(selection.filter)
        except FilterError as error:
            self.query_one("#runs-line", Static).update(str(error))
            return
        table.rearrange(selection, test)
        self._paint_runs_line()

    def on_runs_table_rearranged(self) -> None:
        self._paint_runs_line()

    @work
    async def action_columns(self) -> None:
        table = self.query_one(RunsTable)
        has_epochs = not self.has_class("-no-epochs")
        fields = [field for field in FIELDS if field.needs_epochs in (None, has_epochs)]
        chosen = await self.app.push_screen_wait(Columns(fields, table.selection.columns))
        self._rearrange(columns=chosen)

    def on_runs_table_opened(self, event: RunsTable.Opened) -> None:
        from dnlbench.tui.screens.run import RunScreen

        view = self._view_model.snapshot.view
        if view is not None:
            self.app.push_screen(RunScreen(self._run_dir, view.plan.by_id[event.run_id], self._poller, self._builder))

    def action_export(self) -> None:
        """Export the focused chart as SVG, otherwise the table as CSV."""
        view, focused = self._view_model.snapshot.view, self.focused
        name = view.plan.spec.name if view else "sweep"
        if isinstance(focused, ChartView):
            text, severity = export(f"{name}-{focused.id}", {".svg": focused.svg()})
        else:
            text, severity = export(f"{name}-runs", {".csv": self.query_one(RunsTable).csv()})
        self.app.notify(text, severity=severity, markup=False)


def _age(seconds: float) -> str:
    """Return whole seconds, because tenths would be repainted ten times a second."""
    return f"{max(0.0, seconds):.0f} s" if seconds < 60 else units.seconds(seconds)
