"""Charts of metrics over training: the mean over the seeds of each network and depth, with its interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from dnlbench import units
from dnlbench.charts.model import Axis, Chart, Identity, Series
from dnlbench.charts.scales import with_scale
from dnlbench.charts.source import FAILED, Identities, Source, at_best, failed_note, profiles_of
from dnlbench.profiles import RunRecord, clock_of
from dnlbench.stats.band import mean_band
from dnlbench.studies import EpochMetric, Point

Over = Literal["epoch", "step", "time"]
OVERS: tuple[Over, ...] = get_args(Over)
"""The choices for the x axis of a curve."""
MOST_POINTS = 500
"""Maximum number of points of a curve; longer curves are averaged over spans of epochs."""


@dataclass(frozen=True, kw_only=True)
class RunCurve:
    """The values of a metric in one run. All sequences have the same length."""

    seed: int
    epochs: Sequence[int]
    values: Sequence[float]
    elapsed_s: Sequence[float]
    """Cumulative training time in seconds at the end of each epoch."""
    status: str | None
    """None while the run is in progress."""
    clock: Hashable
    """Equal for runs of one pack."""

    @property
    def in_mean(self) -> bool:
        """Return True if the run is in progress or succeeded and all its values are finite."""
        return self.status in (None, "ok") and all(map(math.isfinite, self.values))

    @property
    def failed(self) -> bool:
        return self.status in FAILED or not all(map(math.isfinite, self.values))


def metrics_of(sources: Sequence[Source]) -> tuple[EpochMetric, ...]:
    """Return the metrics of the study that at least one epoch has."""
    epochs = [epoch for source in sources for run in source.runs for epoch in run.epochs]
    declared = dict.fromkeys(metric for source in sources for metric in source.study.epoch_metrics)
    return tuple(each for each in declared if any(epoch.value(each.name) is not None for epoch in epochs))


def epoch_chart(
    sources: Sequence[Source], metric: EpochMetric, over: Over = "epoch", *, log: bool | None = None
) -> Chart:
    """Build one chart of all networks and depths.

    Means are arithmetic, over the successful runs, with 95 % t intervals. A tuned sweep has one curve for each network and
    depth, that of the tried value nearest to the best one. A failed or canceled run is in no mean: it is a
    ``run`` series up to its last value. Hardware-dependent metrics count once per pack.

    Args:
        sources: one or more sources of one study, the reference first.
        metric: the metric on the y axis.
        over: the x axis. A step is one batch; time is training time only.
        log: True for a logarithmic y axis; None applies the rule of `dnlbench.charts.scales.with_scale`.
    """
    sources = list(map(at_best, sources))
    identities = Identities.of_sources(sources)
    series = [
        each
        for index, source in enumerate(sources)
        for point, runs in _by_point(source.runs).items()
        for each in _source_series(source, runs, metric, over, identities.point(point, index))
    ]
    return chart_of(series, metric, over, sources=sources, log=log)


def epoch_charts(
    sources: Sequence[Source], metric: EpochMetric, over: Over = "epoch", *, log: bool | None = None
) -> tuple[Chart, ...]:
    """Build a chart for each network, and for each data set if sources differ in it; see `epoch_chart`.

    All charts share one scale and one set of notes.
    """
    sources = list(map(at_best, sources))
    identities = Identities.of_sources(sources)
    several = len({source.data for source in sources}) > 1
    groups: dict[tuple[str, str], list[Series]] = {}
    for index, source in enumerate(sources):
        for point, runs in _by_point(source.runs).items():
            identity = identities.point(point, index, alone=True)
            key = (point.series, source.data if several else "")
            groups.setdefault(key, []).extend(_source_series(source, runs, metric, over, identity))
    everything = [each for series in groups.values() for each in series]
    combined = chart_of(everything, metric, over, sources=sources, log=log)
    charts = (
        chart_of(series, metric, over, log=combined.y.scale == "log", subject=", ".join(filter(None, (network, data))))
        for (network, data), series in groups.items()
        if series
    )
    return tuple(replace(chart, notes=combined.notes, profiles=combined.profiles) for chart in charts)


def chart_of(
    series: Sequence[Series],
    metric: EpochMetric,
    over: Over,
    *,
    sources: Sequence[Source] = (),
    subject: str = "",
    log: bool | None = None,
    empty: str = "",
) -> Chart:
    """Build a chart from finished series. Times are in seconds."""
    x, series = _x_axis(series, over)
    title = f"{metric.label[0].upper()}{metric.label[1:]}"
    chart = Chart(
        key="-".join(filter(None, (metric.name, over, subject))),
        title=f"{title} of {subject}" if subject else title,
        subject=subject,
        x=x,
        y=Axis(
            label=metric.label,
            unit=metric.unit,
            range=metric.range,
            ticks="percent" if metric.range == "fraction" else "count" if metric.hardware_dependent else "number",
        ),
        series=tuple(series),
        profiles=profiles_of(sources),
        notes=(*_reading(series), *_tuned_notes(sources), *failed_note(sources)),
        empty=empty or f"no {metric.label} over {x.label}",
    )
    return with_scale(chart, prefer_log=metric.log, log=log)


def point_series(
    runs: Sequence[RunCurve],
    metric: EpochMetric,
    over: Over,
    *,
    identity: Identity,
    letter: str = "",
    steps: int | None = None,
) -> tuple[Series, ...]:
    """Return the mean of one network and depth, and each run that is not in the mean. Times are in seconds."""
    label = f"{letter} {identity.label}".strip()
    known = [run for run in runs if run.epochs]
    mean = _mean([run for run in known if run.in_mean], metric, over, steps)
    series = [replace(mean, key=label, label=label, identity=identity)] if mean is not None else []
    for run in known:
        if not run.in_mean:
            alone, name = run_series(run, over, steps), f"{label} seed {run.seed}"
            series.append(
                replace(alone, key=name, label=name, identity=identity, parent=label if mean is not None else "")
            )
    return tuple(each for each in series if each.x)


def run_series(run: RunCurve, over: Over, steps: int | None) -> Series:
    """Return the curve of one run up to its last finite value."""
    last = max((index for index, value in enumerate(run.values) if math.isfinite(value)), default=0) + 1
    elapsed = dict(zip(run.epochs, run.elapsed_s, strict=True))
    x = _along(run.epochs[:last], over, steps, elapsed)
    return Series(
        key=f"seed {run.seed}",
        label=f"seed {run.seed}",
        role="run",
        x=x,
        y=tuple(run.values[: len(x)]),
        failed=run.failed,
    )


def _source_series(
    source: Source, runs: Sequence[RunRecord], metric: EpochMetric, over: Over, identity: Identity
) -> tuple[Series, ...]:
    curves = [_curve(run, metric) for run in runs]
    return point_series(curves, metric, over, identity=identity, letter=source.letter, steps=source.steps(runs[0]))


def _curve(run: RunRecord, metric: EpochMetric) -> RunCurve:
    elapsed = itertools.accumulate(epoch.seconds for epoch in run.epochs)
    rows = [(e.epoch, e.value(metric.name), s) for e, s in zip(run.epochs, elapsed, strict=True)]
    return curve_of(rows, run.seed, run.status, clock_of(run.pack_size, run.samples_per_s, run.seed))


def curve_of(
    rows: Iterable[tuple[int, float | None, float]], seed: int, status: str | None, clock: Hashable
) -> RunCurve:
    """Build a curve from rows of epoch, value and elapsed seconds. Rows without a value are skipped."""
    known = [(epoch, value, elapsed) for epoch, value, elapsed in rows if value is not None]
    epochs, values, elapsed_s = zip(*known, strict=True) if known else ((), (), ())
    return RunCurve(seed=seed, epochs=epochs, values=values, elapsed_s=elapsed_s, status=status, clock=clock)


def _by_point(runs: Iterable[RunRecord]) -> dict[Point, list[RunRecord]]:
    points: dict[Point, list[RunRecord]] = {}
    for run in runs:
        if run.epochs:
            points.setdefault(run.point, []).append(run)
    return points


def _mean(runs: Sequence[RunCurve], metric: EpochMetric, over: Over, steps: int | None) -> Series | None:
    if metric.hardware_dependent:
        runs = list({run.clock: run for run in runs}.values())
    if any(len(run.epochs) > MOST_POINTS for run in runs):
        runs = _in_spans(runs)
    band = mean_band([(run.epochs, run.values) for run in runs], metric.range)
    x = _along([int(epoch) for epoch in band.x], over, steps, _mean_elapsed(runs))
    if not x:
        return None
    return Series(key="", label="", role="mean", x=x, y=band.mean, low=band.low, high=band.high, n=max(band.n))


def _in_spans(runs: Sequence[RunCurve]) -> list[RunCurve]:
    """Average over spans of epochs of equal length. Each mean lies at the last epoch of its span."""
    span = 1
    while max(run.epochs[-1] for run in runs) > MOST_POINTS * span:
        span *= 2
    return [_in_spans_of(run, span) for run in runs]


def _in_spans_of(run: RunCurve, span: int) -> RunCurve:
    rows = zip(run.epochs, run.values, run.elapsed_s, strict=True)
    groups = [(k, list(group)) for k, group in itertools.groupby(rows, key=lambda row: (row[0] - 1) // span)]
    return replace(
        run,
        epochs=[(k + 1) * span for k, _ in groups],
        values=[sum(row[1] for row in group) / len(group) for _, group in groups],
        elapsed_s=[group[-1][2] for _, group in groups],
    )


def _mean_elapsed(runs: Sequence[RunCurve]) -> Mapping[int, float]:
    by_epoch: dict[int, list[float]] = {}
    for run in runs:
        for epoch, seconds in zip(run.epochs, run.elapsed_s, strict=True):
            by_epoch.setdefault(epoch, []).append(seconds)
    return {epoch: sum(seconds) / len(seconds) for epoch, seconds in by_epoch.items()}


def _along(epochs: Sequence[int], over: Over, steps: int | None, elapsed: Mapping[int, float]) -> tuple[float, ...]:
    """Return the x values of epochs. Times never decrease, even if runs with slow epochs end early."""
    if over == "epoch":
        return tuple(map(float, epochs))
    if over == "step":
        return tuple(float(epoch * steps) for epoch in epochs) if steps else ()
    return tuple(itertools.accumulate((elapsed[epoch] for epoch in epochs), max))


def _x_axis(series: Sequence[Series], over: Over) -> tuple[Axis, Sequence[Series]]:
    """Return the axis and the series in its unit, which suits the longest time."""
    if over != "time":
        return Axis(label="epoch" if over == "epoch" else "training step", ticks="integer"), series
    divisor, unit = units.scale_for([each.x[-1] for each in series], "seconds")
    axis = Axis(label="training time", unit=unit)
    if divisor == 1:
        return axis, series
    return axis, [replace(each, x=tuple(x / divisor for x in each.x)) for each in series]


def _reading(series: Sequence[Series]) -> tuple[str, ...]:
    counts = [each.n for each in series if each.n is not None]
    if not counts:
        return ()
    return (f"Curves: {seeds_text(counts)}{'' if max(counts) == 1 else '; bands: 95 % t interval'}.",)


def _tuned_notes(sources: Sequence[Source]) -> tuple[str, ...]:
    tuned = dict.fromkeys(source.study.tuning for source in sources if source.study.tuning and source.final)
    return tuple(
        f"Curves at the tried {each.setting.label.removeprefix('best ')} nearest to the best one." for each in tuned
    )


def seeds_text(counts: Sequence[int], mean: str = "mean") -> str:
    """Return ``one seed each``, ``mean over n = 3 seeds`` or ``mean over n = 2 to 3 seeds``."""
    if max(counts) == 1:
        return "one seed each"
    n = f"{max(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return f"{mean} over n = {n} seeds"
