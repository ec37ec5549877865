"""Fits of a study's quantities over depth, one for each network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dnlbench.profiles.model import FitRecord, RunRecord
from dnlbench.profiles.values import CURRENT, Method, interval_of, series_of, values_of
from dnlbench.stats import (
    ORDERS,
    Interval,
    LimitFit,
    OrderFit,
    Refusal,
    fit_exponent,
    fit_limit,
    fit_limit_of_curves,
    fit_order,
    local_orders,
)
from dnlbench.studies import DepthFit, Quantity, Study
from dnlbench.studies.base import ORDER_TOLERANCE, POWERS

Samples = Mapping[int, Mapping[int, float]]
"""Values by depth, increasing, and seed."""


def fit_over_depth(
    runs: Sequence[RunRecord],
    depth_fit: DepthFit,
    study: Study,
    *,
    timed: Sequence[RunRecord] | None = None,
    method: Method = CURRENT,
    classes: int | None = None,
) -> FitRecord:
    """Fit one quantity of one series over depth, from one or more runs. A record without a fit contains the reason.

    Only the runs in ``timed`` have comparable throughputs; None: all. ``classes`` is None for data without classes.
    """
    quantity = _named(study, depth_fit.quantity)
    samples = _samples(runs, quantity)
    start: dict[str, Any] = {
        **series_of(runs),
        "quantity": depth_fit.quantity,
        "model": depth_fit.model,
        "depths": tuple(samples),
        **_theory(runs, depth_fit),
    }
    try:
        fitted = _fit(depth_fit, samples, classes)
    except OverflowError:
        return FitRecord(**start, problem="the values lie too far apart for a fit")
    except ValueError as error:
        return FitRecord(**start, problem=str(error))
    if depth_fit.model == "curve-limit":
        start["shrinking"] = _shrinking(samples)
    if isinstance(fitted, Refusal):
        start |= {"refused": fitted.reason, "misfit_p": fitted.misfit_p, **_best(samples, quantity)}
        return FitRecord(**start)
    if isinstance(fitted, OrderFit):
        start |= _power(fitted, start["expected_order"], depth_fit)
        if depth_fit.at_least and method.local_orders:
            start |= _bounded(samples, start["expected_order"])
    else:
        start |= {**_limit(fitted, quantity), **(_best(samples, quantity) if fitted.limit is None else {})}
    if depth_fit.rate is not None:
        rates = _samples(runs if timed is None else timed, _named(study, depth_fit.rate), method)
        start["next_time_factor"] = _time_factor(rates)
    return FitRecord(**start)


def _named(study: Study, name: str) -> Quantity:
    return next(quantity for quantity in study.quantities if quantity.name == name)


def _samples(runs: Sequence[RunRecord], quantity: Quantity, method: Method = CURRENT) -> Samples:
    depths = sorted({run.depth for run in runs})
    values = {depth: values_of([run for run in runs if run.depth == depth], quantity, method) for depth in depths}
    return {depth: by_seed for depth, by_seed in values.items() if by_seed}


def _fit(depth_fit: DepthFit, samples: Samples, classes: int | None) -> OrderFit | LimitFit | Refusal:
    depths = list(samples)
    if depth_fit.model == "limit":
        cap = math.log(classes) if depth_fit.at_most_chance and classes is not None else None
        return fit_limit(depths, [list(by_seed.values()) for by_seed in samples.values()], cap=cap)
    curves = _curves(samples)
    return fit_order(depths, curves) if depth_fit.model in POWERS else fit_limit_of_curves(depths, curves)


def _curves(samples: Samples) -> list[list[float]]:
    seeds = dict.fromkeys(seed for by_seed in samples.values() for seed in by_seed)
    complete = [seed for seed in seeds if all(seed in by_seed for by_seed in samples.values())]
    if not complete:
        raise ValueError("no seed has a finished run at every depth")
    return [[by_seed[seed] for by_seed in samples.values()] for seed in complete]


def _theory(runs: Sequence[RunRecord], depth_fit: DepthFit) -> dict[str, Any]:
    """Return the expected order and verdict of a network, from the study or from the measurements of its runs."""
    expected, theory = depth_fit.expected_order, {}
    if depth_fit.expected_from is not None:
        expected = _measurement(runs, depth_fit.expected_from)
    if depth_fit.unless is not None and _measurement(runs, depth_fit.unless) is not None:
        expected = None
    verdict = depth_fit.verdict
    if verdict and verdict.by_theory and (index := _measurement(runs, verdict.measured_as)) is not None:
        theory = {"theory": verdict.by_theory[int(index)]}
    return {"expected_order": expected, **theory}


def _measurement(runs: Sequence[RunRecord], name: str) -> float | None:
    values = (run.measurements.get(name) for run in runs if run.status == "ok")
    return next((value for value in values if isinstance(value, float)), None)


def _power(fitted: OrderFit, expected: float | None, depth_fit: DepthFit) -> dict[str, Any]:
    order = fitted.order
    agrees = None if expected is None else abs(order.estimate - expected) <= ORDER_TOLERANCE
    seen = depth_fit.verdict.observed(order) if depth_fit.verdict else ""
    return {**_interval("order", order), "constant": fitted.constant, "agrees": agrees, "seen": seen}


def _bounded(samples: Samples, expected: float | None) -> dict[str, Any]:
    """Return the local orders, and whether their limit is at least the expected order (None: inconclusive)."""
    fitted = local_orders(list(samples), _curves(samples))
    agrees = None
    if expected is not None:
        least, limit = expected - ORDER_TOLERANCE, fitted.limit
        high = limit.estimate if limit.high is None else limit.high
        agrees = True if limit.estimate >= least else (False if high < least else None)
    limits = _interval("order_limit", fitted.limit)
    return {"at_least": expected is not None, "local_orders": fitted.orders, **limits, "agrees": agrees}


def _limit(fitted: LimitFit, quantity: Quantity) -> dict[str, Any]:
    order = _interval("order", fitted.order)
    if fitted.order is not None and fitted.order.estimate in ORDERS:
        order["order"] = None  # an end of the search range, not an estimate
    return {
        **order,
        **_interval("limit", _possible(fitted.limit, quantity)),
        **_interval("next", _possible(fitted.next_value, quantity), "next_value"),
        **_interval("next_gain", fitted.next_gain),
        "undetermined": fitted.undetermined,
        "form": fitted.form,
        "forms": fitted.forms,
        "shape": fitted.shape,
        "base": fitted.base,
        "constant": fitted.amplitude,
        "fitted_value": fitted.fitted_value,
        "residual": fitted.residual,
        "misfit_p": fitted.misfit_p,
    }


def _possible(interval: Interval | None, quantity: Quantity) -> Interval | None:
    """Restrict the interval of a fraction to possible values, which keeps its coverage."""
    if interval is None or quantity.range != "fraction":
        return interval
    ends = (None if each is None else min(max(each, 0.0), 1.0) for each in (interval.low, interval.high))
    low, high = ends
    return replace(interval, estimate=min(max(interval.estimate, 0.0), 1.0), low=low, high=high)


def _best(samples: Samples, quantity: Quantity) -> dict[str, Any]:
    means = {depth: interval_of(list(by_seed.values()), quantity) for depth, by_seed in samples.items()}
    choose = max if quantity.better == "higher" else min
    depth = choose(means, key=lambda depth: means[depth].estimate)
    return {"best_depth": depth, **_interval("best", means[depth], "best_value")}


def _interval(name: str, interval: Interval | None, estimate: str | None = None) -> dict[str, float | None]:
    if interval is None:
        return {}
    return {estimate or name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _time_factor(rates: Samples) -> float | None:
    """Return ``2^q`` for a time per sample of ``c L^q``."""
    seconds = [len(by_seed) / sum(by_seed.values()) for by_seed in rates.values()]
    return 2 ** fit_exponent(list(rates), seconds) if len(rates) > 1 else None


def _shrinking(samples: Samples) -> tuple[float, ...]:
    """Return ``(m_j − m_{j+1}) / (m_{j+1} − m_{j+2})`` of the means over complete seeds, if the depths double."""
    depths, curves = list(samples), _curves(samples)
    if any(b != 2 * a for a, b in itertools.pairwise(depths)):
        return ()
    means = [sum(values) / len(values) for values in zip(*curves, strict=True)]
    differences = [a - b for a, b in itertools.pairwise(means)]
    return tuple(a / b for a, b in itertools.pairwise(differences) if b)
