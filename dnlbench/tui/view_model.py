"""The view model of the sweep screen. The poller's thread builds it, so that the screen only has to paint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dnlbench.charts.epochs import Over
from dnlbench.charts.live import LiveCharts, live_metrics
from dnlbench.charts.model import Chart
from dnlbench.charts.source import Source
from dnlbench.machine import DeviceHistory, Telemetry, TelemetryLog, read_machine
from dnlbench.studies import TRAIN_LOSS, EpochMetric
from dnlbench.tui.depth import live_source
from dnlbench.tui.poller import Snapshot
from dnlbench.tui.rows import RunRow, rows_of
from dnlbench.watch import SweepView

DRAWING_FRACTION = 0.1
"""Maximum fraction of the time for computing charts; slow charts are updated less often."""
READ_S = 1.0
"""Seconds between telemetry readings."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The selected metric and x axis of the training chart."""

    metric: EpochMetric = TRAIN_LOSS
    over: Over = "epoch"


@dataclass(frozen=True, kw_only=True)
class SweepViewModel:
    """A snapshot, ready to be painted. Unchanged fields are identical objects from one view model to the next."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    rows: Mapping[str, RunRow] = field(default_factory=dict)
    choice: Choice = field(default_factory=Choice)
    metrics: tuple[EpochMetric, ...] = ()
    chart: Chart | None = None
    """The metric over training."""
    depth: Source | None = None
    """Results for charts over depth."""
    devices: DeviceHistory = field(default_factory=dict)
    """Telemetry of this machine."""
    remote: bool = False
    """True if the sweep runs on another machine."""


class ViewModelBuilder:
    """The builder of view models. It runs in the poller's thread; the screen sets `choice`."""

    def __init__(
        self,
        telemetry: Callable[[], Telemetry] = Telemetry,
        here: Callable[[], str] = lambda: read_machine().fingerprint,
    ) -> None:
        self.choice = Choice()
        self._open = telemetry
        self._telemetry: Telemetry | None = None
        self._read_here, self._here = here, ""
        self._log = TelemetryLog()
        self._read_at = 0.0
        self._charts = LiveCharts()
        self._last = SweepViewModel()
        self._chart_due = self._depth_due = 0.0

    def __call__(self, snapshot: Snapshot) -> SweepViewModel:
        view, last = snapshot.view, self._last
        if view is None:
            self._last = SweepViewModel(
                snapshot=snapshot, choice=self.choice, devices=self._devices(snapshot.polled_at)
            )
            return self._last
        view_model = replace(
            last,
            snapshot=snapshot,
            rows=_reusing(last.rows, rows_of(view)),
            metrics=live_metrics(view),
            devices=self._devices(snapshot.polled_at),
            remote=view.machine not in (None, self._here),
        )
        now = time.monotonic()
        # The first polls compute one part each: the table need not wait for curves, nor curves for fits.
        if last.rows and (self.choice != view_model.choice or now >= self._chart_due):
            view_model = self._with_chart(view_model, view)
        if last.chart is not None and now >= self._depth_due:
            view_model = self._with_depth(view_model, view)
        self._last = view_model
        return view_model

    def _with_chart(self, view_model: SweepViewModel, view: SweepView) -> SweepViewModel:
        start, choice = time.monotonic(), self.choice
        chart = self._charts.chart(view, choice.metric, choice.over)
        self._chart_due = start + (time.monotonic() - start) / DRAWING_FRACTION
        return replace(view_model, choice=choice, chart=view_model.chart if view_model.chart == chart else chart)

    def _with_depth(self, view_model: SweepViewModel, view: SweepView) -> SweepViewModel:
        start = time.monotonic()
        depth = live_source(view)
        self._depth_due = start + max(1.0, (time.monotonic() - start) / DRAWING_FRACTION)
        return view_model if depth == view_model.depth else replace(view_model, depth=depth)

    def _devices(self, now: float) -> DeviceHistory:
        if self._telemetry is None:
            self._telemetry, self._here = self._open(), self._read_here()
        if abs(now - self._read_at) >= READ_S:
            self._read_at = now
            self._log.add(self._telemetry.read(now))
        return self._log.snapshot()

    def close(self) -> None:
        if self._telemetry is not None:
            self._telemetry.close()


def _reusing(before: Mapping[str, RunRow], now: Mapping[str, RunRow]) -> Mapping[str, RunRow]:
    """Return the current rows, with the previous object for each run that has not changed."""
    return {
        run_id: old if (old := before.get(run_id)) is not None and _alike(old, row) else row
        for run_id, row in now.items()
    }


def _alike(old: RunRow, row: RunRow) -> bool:
    return old.history is row.history and (old.state, old.slot, old.node, old.left_s) == (
        row.state,
        row.slot,
        row.node,
        row.left_s,
    )
