"""Charts of a running sweep. Series that have not changed since the last update are reused."""

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
    """Return the study's first metric and all others that at least one run has."""
    last = [history.epochs[-1] for history in view.histories.values() if history.epochs]
    return tuple(
        each
        for index, each in enumerate(view.plan.study.epoch_metrics)
        if index == 0 or any(epoch.value(each.name) is not None for epoch in last)
    )


class LiveCharts:
    """Builds charts of a sweep in progress; see `dnlbench.charts.epochs.epoch_chart`."""

    def __init__(self) -> None:
        self._cache: dict[tuple[Point, EpochMetric, Over], tuple[list[RunHistory], int | None, tuple[Series, ...]]] = {}

    def chart(self, view: SweepView, metric: EpochMetric, over: Over = "epoch") -> Chart:
        """Build a chart of the means so far, in plan order. Unchanged series are the same objects as before."""
        metric = view.plan.study.epoch_metric(metric)
        by_point: dict[Point, list[Run]] = {}
        for run in view.plan.runs:
            by_point.setdefault(run.point, []).append(run)
        identities = Identities.of(by_point)
        series = [
            each
            for point, runs in by_point.items()
            for each in self._series(view, identities, point, runs, metric, over)
        ]
        empty = "the first epoch is in progress" if view.leased else "no epoch has finished yet"
        return chart_of(series, metric, over, empty=empty)

    def run_chart(self, view: SweepView, run: Run, metric: EpochMetric, over: Over = "epoch") -> Chart:
        """Build a chart of one run in front of the mean of its network and depth."""
        metric = view.plan.study.epoch_metric(metric)
        seeds = [each for each in view.plan.runs if each.point == run.point]
        identities = Identities.of(each.point for each in view.plan.runs)
        series = self._series(view, identities, run.point, seeds, metric, over)
        background = [each for each in series if each.role == "mean"]
        history = view.histories[run.run_id]
        curve = run_series(_curve(run, history, metric), over, _steps(view, run.point, [history]))
        network = identities.networks.index(run.point.series) + 1  # a color different from the mean's
        identity = Identity(label=curve.label, index=identities.points.index(run.point) + 1, network=network)
        foreground = [replace(curve, role="mean", identity=identity)] if curve.x else []
        return chart_of([*background, *foreground], metric, over, subject=run.title, empty="no epoch has finished yet")

    def _series(
        self,
        view: SweepView,
        identities: Identities,
        point: Point,
        runs: Sequence[Run],
        metric: EpochMetric,
        over: Over,
    ) -> tuple[Series, ...]:
        histories = [view.histories[run.run_id] for run in runs]
        steps = _steps(view, point, histories)
        cached = self._cache.get((point, metric, over))
        if cached is not None and cached[1] == steps and all(a is b for a, b in zip(cached[0], histories, strict=True)):
            return cached[2]
        curves = [_curve(run, history, metric) for run, history in zip(runs, histories, strict=True)]
        series = point_series(curves, metric, over, identity=identities.point(point), steps=steps)
        self._cache[point, metric, over] = histories, steps, series
        return series


def measured_chart(name: str, values: Sequence[float], subject: str) -> Chart:
    """Build a chart of a curve measured by a run without epochs, against the index."""
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


def _steps(view: SweepView, point: Point, histories: Sequence[RunHistory]) -> int | None:
    """Return the training steps per epoch of the runs of a point; None until the data are prepared."""
    batch = getattr(getattr(view.plan.specs[point.settings], "train", None), "batch_size", None)
    recorded = (history.started.samples for history in histories if history.started)
    prepared = view.prepared.data.samples if view.prepared is not None else None
    return steps_per_epoch(batch, next(filter(None, recorded), prepared))


def _curve(run: Run, history: RunHistory, metric: EpochMetric) -> RunCurve:
    epochs = history.epochs
    rows = zip(epochs.column("epoch"), epochs.column(metric.name), epochs.elapsed_s(), strict=True)
    packed = history.started.pack_size if history.started else None
    clock = clock_of(packed, history.samples_per_s if (packed or 1) > 1 else None, run.run_id)
    return curve_of(rows, run.seed, history.ended.status if history.ended else None, clock)
