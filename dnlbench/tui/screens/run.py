"""The screen of one run: its curve, details, attempts, log and error."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from dnlbench.charts.live import LiveCharts, measured_chart
from dnlbench.charts.model import Chart
from dnlbench.plan import Run
from dnlbench.store import RunDir
from dnlbench.tui.export import export
from dnlbench.tui.poller import Poller
from dnlbench.tui.rows import STATES, RunRow
from dnlbench.tui.run_details import attempt_lines, measured_curves, run_details
from dnlbench.tui.view_model import SweepViewModel, ViewModelBuilder
from dnlbench.tui.widgets.chart import ChartView
from dnlbench.tui.widgets.key_line import KeyLine
from dnlbench.tui.widgets.log_view import LogView

PAINT_S = 0.2
PANELS = {"chart": "#run-chart", "details": "#run-left", "log": "LogLines"}


class RunScreen(Screen[None]):
    """The screen of a run. It uses the poller of the sweep screen."""

    CSS_PATH = "run.tcss"
    HELP = """
# A run

The chart shows the curve of the run, and the mean and band of all seeds of its network and depth.

- **1 2 3** go to the curve, to details and attempts, and to the log; in the log, **/** searches and **f** follows
- **T** shows the error with its traceback; **y** copies the details, or the log if it is focused
- **m** shows the next curve of a run without epochs, **e** exports the chart, **q** goes back
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "panel('chart')", "curve", show=False, id="run.curve"),
        Binding("2", "panel('details')", "details", show=False, id="run.facts"),
        Binding("3", "panel('log')", "log", show=False, id="run.log"),
        Binding("T", "traceback", "traceback", id="run.traceback"),
        Binding("y", "copy", "copy", id="run.copy"),
        Binding("m", "next_curve", "next curve", show=False, id="run.next_curve"),
        Binding("e", "export", "export", id="run.export"),
        Binding("escape,q", "app.pop_screen", "back", id="run.back"),
    ]

    def __init__(self, run_dir: RunDir, run: Run, poller: Poller[SweepViewModel], builder: ViewModelBuilder) -> None:
        super().__init__()
        self._run_dir, self._run, self._poller, self._builder = run_dir, run, poller, builder
        self._row: RunRow | None = None
        self._view_model: SweepViewModel | None = None
        self._curve = 0
        self._charts = LiveCharts()

    def compose(self) -> ComposeResult:
        yield Static(id="run-head", markup=False)
        yield Static("[b]1[/] curve  [b]2[/] details and attempts  [b]3[/] log", id="run-tabs")
        with Horizontal(id="run-body"):
            with VerticalScroll(id="run-left"):
                yield Static(id="run-details")
            yield ChartView(id="run-chart")
        yield LogView(id="run-log")
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#run-chart").focus()
        self.paint()
        self.set_interval(PAINT_S, self.paint)

    def paint(self) -> None:
        view_model = self._poller.latest
        if view_model is None or view_model is self._view_model or view_model.snapshot.view is None:
            return
        row = view_model.rows.get(self._run.run_id)
        if row is None:
            return
        self._view_model, self._row = view_model, row
        mark, style = STATES[row.state]
        self.query_one("#run-head", Static).update(
            Text.assemble((f"{row.run.title}  ", "bold"), (f"{mark} {row.state}", style), f"  {row.message}")
        )
        self.query_one("#run-details", Static).update(self._details(view_model, row))
        self.query_one("#run-chart", ChartView).chart = self._chart(view_model, row)
        self.query_one(LogView).path = self._log_path(row)

    def _log_path(self, row: RunRow) -> Path | None:
        started = row.history.started
        return self._run_dir.log_path(self._run.run_id, started.attempt) if started else None

    def _details(self, view_model: SweepViewModel, row: RunRow) -> Table:
        view = view_model.snapshot.view
        assert view is not None, "rows exist only with a view"
        data = view.prepared.data if view.prepared else None
        estimated = view.plan.estimate(
            self._run.point, data.input_shape if data else None, data.classes if data else None
        ).memory_bytes
        table = Table.grid(padding=(0, 1))
        for name, value in run_details(row, view.plan.study, estimated):
            table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
        table.add_row(Text("attempts", style="dim"), Text("\n".join(attempt_lines(row.history)) or "none"))
        return table

    def _chart(self, view_model: SweepViewModel, row: RunRow) -> Chart:
        view = view_model.snapshot.view
        assert view is not None, "rows exist only with a view"
        curves = measured_curves(row.history)
        if curves:
            name = list(curves)[self._curve % len(curves)]
            return measured_chart(name, curves[name], row.run.title)
        return self._charts.run_chart(view, row.run, view_model.choice.metric, view_model.choice.over)

    def action_panel(self, name: str) -> None:
        """Focus a panel; show it if there is room for one only."""
        self.set_class(name == "details", "-second")
        self.set_class(name == "log", "-third")
        self.query_one(PANELS[name]).focus()

    def action_next_curve(self) -> None:
        self._curve += 1
        self._view_model = None
        self.paint()

    def action_traceback(self) -> None:
        error = self._row.history.ended.error if self._row and self._row.history.ended else None
        if error is None:
            self.app.notify("This run has no error.", severity="warning")
            return
        self.app.push_screen(Traceback(f"{error.type}: {error.message}\n\n{error.log or 'It printed no output.'}"))

    def action_copy(self) -> None:
        if self._row is None or self._view_model is None or self._view_model.snapshot.view is None:
            return
        details = run_details(self._row, self._view_model.snapshot.view.plan.study, None)
        self.app.copy_to_clipboard("\n".join(f"{name}: {value}" for name, value in details))
        self.app.notify("Copied the details")

    def action_export(self) -> None:
        text, severity = export(self._run.run_id, {".svg": self.query_one("#run-chart", ChartView).svg()})
        self.app.notify(text, severity=severity, markup=False)


class Traceback(ModalScreen[None]):
    """A dialog with the traceback of a failed run."""

    DEFAULT_CSS = """
    Traceback { align: center middle; }
    Traceback > VerticalScroll { width: 95%; height: 90%; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "copy", id="traceback.copy"),
        Binding("escape,q,T", "app.pop_screen", "close", id="traceback.close"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("y to copy, esc to close", classes="hint")
            yield Static(Text(self._text), id="traceback")

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._text)
        self.app.notify("Copied the traceback")
