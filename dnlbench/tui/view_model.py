"""What the sweep screen shows, worked out from each look in the poller's own thread, so that the screen has only to paint."""

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
"""Of the time that may go into charts; a chart that takes long is made anew less often."""
READ_S = 1.0
"""Seconds between two readings of the devices."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the chart over training is asked to show."""

    metric: EpochMetric = TRAIN_LOSS
    over: Over = "epoch"


@dataclass(frozen=True, kw_only=True)
class SweepViewModel:
    """One look, ready to be painted. What has not changed since the one before is the very same object."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    rows: Mapping[str, RunRow] = field(default_factory=dict)
    choice: Choice = field(default_factory=Choice)
    metrics: tuple[EpochMetric, ...] = ()
    chart: Chart | None = None
    """Over training."""
    depth: Source | None = None
    """What charts over depth show."""
    devices: DeviceHistory = field(default_factory=dict)
    """Of this machine."""
    remote: bool = False


class ViewModelBuilder:
    """Makes digests. It belongs to the poller's thread, but for `choice`, which the screen sets."""

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
        # One after the other with the first looks: the table should not wait for curves, nor curves for fits.
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
    """The rows as they are now, each the one before where the run has not changed."""
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
