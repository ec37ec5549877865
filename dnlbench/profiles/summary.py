"""The summary of a profile's runs, for any study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from dnlbench.events import EpochRecord
from dnlbench.profiles.contrasts import contrasts_of
from dnlbench.profiles.costs import fit_cost
from dnlbench.profiles.fits import fit_over_depth
from dnlbench.profiles.hardware import Hardware, alike, count_hardware
from dnlbench.profiles.model import ContrastRecord, IntervalRecord, PointSummary, RunRecord, Summary
from dnlbench.profiles.tuning import fit_best_value, measured_by, tuned_records, tuned_runs
from dnlbench.profiles.values import CURRENT, Method, by_point, interval_of, series_of, values_of
from dnlbench.studies import Quantity, Study
from dnlbench.studies.base import OverEpochs


def derived(epochs: Sequence[EpochRecord]) -> dict[str, float | None]:
    """Compute the fields of a run that follow from its epochs."""
    last = epochs[-1] if epochs else None
    seconds = sum(epoch.seconds for epoch in epochs)
    samples = sum(epoch.samples_per_s * epoch.seconds for epoch in epochs)
    return {
        "final_train_loss": last.train_loss if last else None,
        "samples_per_s": samples / seconds if seconds > 0 else None,
        **{name: last.value(name) if last else None for name in ("evaluation_accuracy", "gradient_norm_median")},
    }


def over_epochs(epochs: Sequence[EpochRecord], study: Study) -> dict[str, float]:
    """Compute the quantities of a finished run that its epochs determine: the best epoch, the mean of the last epochs."""
    values = {q.name: _over(epochs, q.over_epochs) for q in study.quantities if q.over_epochs}
    return {name: value for name, value in values.items() if value is not None}


def _over(epochs: Sequence[EpochRecord], over: OverEpochs) -> float | None:
    known = [(value, each.epoch) for each in epochs if (value := each.value(over.metric)) is not None]
    if over.value == "mean of the last":
        last = [value for value, _ in known[-over.epochs :]]
        return fmean(last) if len(last) == over.epochs else None
    lowest = min((pair for pair in known if math.isfinite(pair[0])), default=None)
    return None if lowest is None else float(lowest[over.value == "epoch of the lowest"])


def summarize(
    runs: Sequence[RunRecord], study: Study, method: Method = CURRENT, *, classes: int | None = None
) -> Summary:
    """Compute mean and interval of each quantity at each point, in the order of the runs, with fits, costs and contrasts.

    An older ``method`` serves to check the summary of an older profile. ``classes`` is None for data without classes, or
    unknown data.
    """
    points = by_point(runs)
    series = {point.series: [run for run in runs if run.series == point.series] for point in points}
    ranks = {name: count_hardware(_ok(group)) for name, group in series.items()}
    tuned = tuned_runs(runs, study)
    tuned_series = {
        name: [run for run in tuned if run.series == name] for name in dict.fromkeys(r.series for r in tuned)
    }
    return Summary(
        points=tuple(_point(group, study.quantities, ranks[point.series], method) for point, group in points.items()),
        fits=tuple(
            fit_over_depth(
                group,
                depth_fit,
                study,
                timed=alike(_ok(group)) if method.one_hardware else group,
                method=method,
                classes=classes,
            )
            for depth_fit in study.fits
            for group in series.values()
        )
        + fit_best_value(runs, study)
        + tuple(
            fit_over_depth(group, study.tuning.loss_fit, study, method=method, classes=classes)
            for group in tuned_series.values()
            if study.tuning
        ),
        tuned=tuned_records(runs, study),
        costs=tuple(
            record
            for cost in study.costs
            for group in series.values()
            if (record := fit_cost(group, cost, study, method)) is not None
        ),
        contrasts=contrast_records(runs, study),
    )


def contrast_records(runs: Sequence[RunRecord], study: Study) -> tuple[ContrastRecord, ...]:
    """Return the contrasts of all quantities that the study tests within a profile."""
    quantities = {quantity.name: quantity for quantity in study.quantities}
    return tuple(
        contrast.record
        for quantity in map(quantities.__getitem__, study.contrasts)
        for contrast in contrasts_of(measured_by(quantity, runs, study), quantity)
    )


def _ok(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if run.status == "ok"]


def _point(
    runs: Sequence[RunRecord], quantities: Sequence[Quantity], ranks: Mapping[Hardware, int], method: Method
) -> PointSummary:
    intervals, ok = {}, _ok(runs)
    timed = alike(ok, ranks) if method.one_hardware else ok
    for quantity in quantities:
        values = list(values_of(timed if quantity.hardware_dependent else ok, quantity, method).values())
        if values:
            interval = interval_of(values, quantity, method)
            intervals[quantity.name] = IntervalRecord(
                mean=interval.estimate, low=interval.low, high=interval.high, n=interval.n
            )
    return PointSummary(
        **series_of(runs),
        depth=runs[0].depth,
        parameters=next((run.parameters for run in runs if run.parameters is not None), None),
        statuses=dict(Counter(run.status for run in runs)),
        quantities=intervals,
        left_out=len(ok) - len(timed),
    )
