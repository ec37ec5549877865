"""The best value of a setting at each point, and the losses at it, which are fitted and tested like those of runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from dnlbench.profiles.model import FitRecord, IntervalRecord, RunRecord, TriedRecord, TunedRecord
from dnlbench.profiles.values import interval_of, values_of
from dnlbench.stats.tuning import Losses, NotTunedError, Tuned, growth_of, tune
from dnlbench.studies import Point, Quantity, Study
from dnlbench.studies.base import Tuning

Series = dict[int, "Tuned | NotTunedError"]
"""Results of the networks of a series by depth."""


def tuned_records(runs: Sequence[RunRecord], study: Study) -> tuple[TunedRecord, ...]:
    """Return the best value at each point of a tuned sweep; empty if the sweep tunes no setting."""
    if study.tuning is None:
        return ()
    return tuple(
        _record(study, study.tuning, point, group, results[point.depth])
        for points in _series(runs, study.tuning).values()
        for results in [_results(study, points)]
        for point, group in points.items()
    )


def tuned_runs(runs: Sequence[RunRecord], study: Study) -> tuple[RunRecord, ...]:
    """Return a run for each point and seed of a tuned sweep, whose only measurement is the loss at the best value.

    Everything that reads runs treats the tuned results as those of a sweep without the tuned setting.
    """
    if study.tuning is None:
        return ()
    return tuple(
        _run(study.tuning, point, group, seed, loss)
        for points in _series(runs, study.tuning).values()
        for results in [_results(study, points)]
        for point, group in points.items()
        for seed, loss in _losses(results[point.depth]).items()
    )


def fit_best_value(runs: Sequence[RunRecord], study: Study) -> tuple[FitRecord, ...]:
    """Fit ``C L^q`` to the best values of each network; a record without a fit has the reason."""
    if study.tuning is None:
        return ()
    return tuple(
        _growth(study.tuning, points, _results(study, points)) for points in _series(runs, study.tuning).values()
    )


def measured_by(quantity: Quantity, runs: Sequence[RunRecord], study: Study) -> Sequence[RunRecord]:
    """Return the runs with the values of a quantity: the tuned ones for the loss at the best value, otherwise all."""
    is_tuned = study.tuning is not None and quantity.name == study.tuning.loss.name
    return tuned_runs(runs, study) if is_tuned else runs


def runs_at_best(runs: Iterable[RunRecord], tuned: Iterable[TunedRecord]) -> tuple[RunRecord, ...]:
    """Return the runs at the tried value that is nearest to the best one, in the order of the best values."""
    nearest = {
        record.point: (record.key, min((each.value for each in record.tried), key=lambda v: abs(math.log(v / best))))
        for record in tuned
        if (best := record.best) is not None
    }
    key = next((key for key, _ in nearest.values()), "")
    chosen: dict[Point, list[RunRecord]] = {point: [] for point in nearest}
    for run in runs:
        point = run.point.without(key)
        if nearest.get(point) == (key, run.settings.get(key)):
            chosen[point].append(run)
    return tuple(run for group in chosen.values() for run in group)


def _series(runs: Iterable[RunRecord], tuning: Tuning) -> dict[str, dict[Point, list[RunRecord]]]:
    """Group runs by series and point without the tuned setting, by depth."""
    series: dict[str, dict[Point, list[RunRecord]]] = {}
    for run in sorted(runs, key=lambda run: run.depth):
        point = run.point.without(tuning.key)
        series.setdefault(point.series, {}).setdefault(point, []).append(run)
    order = dict.fromkeys(run.point.without(tuning.key).series for run in runs)
    return {name: series[name] for name in order}


def _results(study: Study, points: dict[Point, list[RunRecord]]) -> Series:
    assert study.tuning is not None
    losses = [_samples(study, study.tuning, group) for group in points.values()]
    return {point.depth: result for point, result in zip(points, tune(losses), strict=True)}


def _samples(study: Study, tuning: Tuning, runs: Sequence[RunRecord]) -> Losses:
    quantity = tuning.measured_in(study)
    by_value: dict[float, list[RunRecord]] = {}
    for run in runs:
        by_value.setdefault(float(run.settings[tuning.key]), []).append(run)
    samples = {value: values for value, group in by_value.items() if (values := values_of(group, quantity))}
    failed = [value for value, group in by_value.items() if any(run.status == "diverged" for run in group)]
    return Losses(samples=samples, failed=failed)


def _losses(result: Tuned | NotTunedError) -> dict[int, float]:
    return {} if isinstance(result, NotTunedError) else dict(result.losses)


def _record(
    study: Study, tuning: Tuning, point: Point, runs: Sequence[RunRecord], result: Tuned | NotTunedError
) -> TunedRecord:
    start = {**point.identity, "key": tuning.key, "tried": _tried(study, tuning, runs)}
    if isinstance(result, NotTunedError):
        return TunedRecord(**start, problem=str(result))
    loss = _mean(list(result.losses.values()), tuning.loss)
    return TunedRecord(**start, best=result.best, low=result.low, high=result.high, edge=result.edge, loss=loss)


def _tried(study: Study, tuning: Tuning, runs: Sequence[RunRecord]) -> tuple[TriedRecord, ...]:
    quantity, losses = tuning.measured_in(study), _samples(study, tuning, runs)
    values = sorted({float(run.settings[tuning.key]) for run in runs})
    return tuple(
        TriedRecord(
            value=value,
            loss=_mean(list(losses.samples.get(value, {}).values()), quantity),
            diverged=value in losses.failed,
        )
        for value in values
    )


def _mean(values: Sequence[float], quantity: Quantity) -> IntervalRecord | None:
    if not values:
        return None
    interval = interval_of(values, quantity)
    return IntervalRecord(mean=interval.estimate, low=interval.low, high=interval.high, n=interval.n)


def _run(tuning: Tuning, point: Point, runs: Sequence[RunRecord], seed: int, loss: float) -> RunRecord:
    return RunRecord(
        run_id=f"tuned-{point.network}-L{point.depth}-s{seed}",
        **point.identity,
        seed=seed,
        status="ok",
        device=None,
        pack_size=None,
        parameters=runs[0].parameters,
        epochs=(),
        final_train_loss=None,
        samples_per_s=None,
        peak_memory_bytes=None,
        measurements={tuning.loss.name: loss},
        attempts=(),
        error=None,
    )


def _growth(tuning: Tuning, points: dict[Point, list[RunRecord]], results: Series) -> FitRecord:
    first = next(iter(points))
    start = {key: value for key, value in first.identity.items() if key != "depth"}
    start |= {"quantity": tuning.setting.name, "model": "growth", "depths": tuple(results)}
    try:
        tuned = [_checked(depth, result) for depth, result in results.items()]
        fitted = growth_of(list(results), tuned)
    except NotTunedError as error:
        return FitRecord(**start, problem=str(error))
    exponent = fitted.exponent
    assert exponent.low is not None
    assert exponent.high is not None
    return FitRecord(
        **start,
        order=-exponent.estimate,
        order_low=-exponent.high,
        order_high=-exponent.low,
        constant=fitted.constant,
        misfit_p=fitted.misfit_p,
        seen=tuning.observed(exponent, fitted.misfit_p),
    )


def _checked(depth: int, result: Tuned | NotTunedError) -> Tuned:
    if isinstance(result, NotTunedError):
        raise NotTunedError(f"at L={depth} {result}")
    return result
