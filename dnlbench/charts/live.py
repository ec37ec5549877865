"""The charts of a running sweep. What has not changed since the last look is not computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dnlbench.charts.epochs import Over, RunCurve, chart_of, curve_of, point_series, run_series
from dnlbench.charts.model import Axis, Chart, Identity, Series
from dnlbench.charts.scales import with_scale
from dnlbench.charts.source import Identities, steps_per_epoch
from dnlbench.events import RunHistory
from dnlbench.plan import Run
from dnlbench.profiles import clock_of
from dnlbench.studies import EpochMetric, Point
from dnlbench.watch import SweepView


def live_metrics(view: SweepView) -> tuple[EpochMetric, ...]:
    """The metrics of the study that some run has; the first one always."""
    last = [history.epochs[-1] for history in view.histories.values() if history.epochs]
    return tuple(
        each
        for place, each in enumerate(view.plan.study.epoch_metrics)
        if not place or any(epoch.value(each.name) is not None for epoch in last)
    )


class LiveCharts:
    """Makes the chart of a view, with all networks and depths; see `dnlbench.charts.epochs.epoch_chart`."""

    def __init__(self) -> None:
        self._known: dict[tuple[Point, EpochMetric, Over], tuple[list[RunHistory], int | None, tuple[Series, ...]]] = {}

    def chart(self, view: SweepView, metric: EpochMetric, over: Over = "epoch") -> Chart:
        """The means so far, in the order of the plan. Series that have not changed are the same objects."""
        by_point: dict[Point, list[Run]] = {}
        for run in view.plan.runs:
            by_point.setdefault(run.point, []).append(run)
        identities = Identities.of(by_point)
        series = [
            each
            for point, runs in by_point.items()
            for each in self._series(view, identities, point, runs, metric, over)
        ]
        empty = "the first epoch is in progress" if view.leased else "no epoch is done yet"
        return chart_of(series, metric, over, empty=empty)

    def run_chart(self, view: SweepView, run: Run, metric: EpochMetric, over: Over = "epoch") -> Chart:
        """One run in front of the mean of its network and depth."""
        seeds = [each for each in view.plan.runs if each.point == run.point]
        identities = Identities.of(each.point for each in view.plan.runs)
        series = self._series(view, identities, run.point, seeds, metric, over)
        behind = [each for each in series if each.role == "mean"]
        own = run_series(_curve(run, view.histories[run.run_id], metric), over, _steps(view))
        beside = identities.networks.index(run.point.network) + 1
        identity = Identity(label=own.label, index=identities.points.index(run.point) + 1, network=beside)
        front = [replace(own, role="mean", identity=identity)] if own.x else []
        return chart_of([*behind, *front], metric, over, subject=run.title, empty="no epoch is done yet")

    def _series(
        self,
        view: SweepView,
        identities: Identities,
        point: Point,
        runs: Sequence[Run],
        metric: EpochMetric,
        over: Over,
    ) -> tuple[Series, ...]:
        histories, steps = [view.histories[run.run_id] for run in runs], _steps(view)
        known = self._known.get((point, metric, over))
        if known is not None and known[1] == steps and all(a is b for a, b in zip(known[0], histories, strict=True)):
            return known[2]
        curves = [_curve(run, history, metric) for run, history in zip(runs, histories, strict=True)]
        series = point_series(curves, metric, over, identity=identities.point(point), steps=steps)
        self._known[point, metric, over] = histories, steps, series
        return series


def measured_chart(name: str, values: Sequence[float], subject: str) -> Chart:
    """A curve that a run without epochs has measured, against its index."""
    label = name.replace("_", " ")
    series = Series(key=name, label=label, role="mean", x=tuple(map(float, range(len(values)))), y=tuple(values))
    chart = Chart(
        key=name,
        title=f"{label[0].upper()}{label[1:]} of {subject}",
        x=Axis(label="index", ticks="integer"),
        y=Axis(label=label),
        series=(series,),
        subject=subject,
    )
    return with_scale(chart, prefer_log=True)


def _steps(view: SweepView) -> int | None:
    """None until the data are prepared."""
    batch = view.plan.spec.model_dump().get("train", {}).get("batch_size")
    return steps_per_epoch(batch, view.prepared.data.samples) if view.prepared is not None else None


def _curve(run: Run, history: RunHistory, metric: EpochMetric) -> RunCurve:
    epochs = history.epochs
    rows = zip(epochs.column("epoch"), epochs.column(metric.name), epochs.elapsed_s(), strict=True)
    packed = history.started.pack_size if history.started else None
    clock = clock_of(packed, history.samples_per_s if (packed or 1) > 1 else None, run.run_id)
    return curve_of(rows, run.seed, history.ended.status if history.ended else None, clock)
