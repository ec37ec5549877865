"""The values of a quantity in the runs of a profile."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dnlbench.profiles.model import RunRecord
from dnlbench.stats import Interval, log_mean_interval, mean_interval
from dnlbench.studies import Point, Quantity


@dataclass(frozen=True, kw_only=True)
class Method:
    """The method of summarizing runs. Older profiles contain the results of older methods."""

    one_hardware: bool = True
    """Hardware-dependent values come from runs on one model of machine and device (since 0.7)."""
    one_per_pack: bool = True
    """A quantity that is measured once for a pack has one value (since 0.8)."""
    within_range: bool = True
    """Intervals stay within the range of the quantity, and means are those that it declares (since 0.8)."""
    local_orders: bool = True
    """A bound of an order is compared with the limit of the local orders, not with the mean slope (since 0.8)."""


CURRENT = Method()


def by_point(runs: Iterable[RunRecord]) -> dict[Point, list[RunRecord]]:
    """Group runs by network and depth, in their order."""
    points: dict[Point, list[RunRecord]] = {}
    for run in runs:
        points.setdefault(run.point, []).append(run)
    return points


def series_of(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the network and settings of runs of one series, as fields of records."""
    return {"network": runs[0].network, "settings": runs[0].settings}


def values_of(runs: Iterable[RunRecord], quantity: Quantity, method: Method = CURRENT) -> dict[int, float]:
    """Return the finite values of a quantity by seed, for the ``ok`` runs of one point.

    A pack is timed as one, so its runs are one sample of a hardware-dependent quantity, under the smallest of their seeds.
    """
    per_pack = method.one_per_pack and quantity.hardware_dependent
    values: dict[Hashable, tuple[int, float]] = {}
    for run in sorted((run for run in runs if run.status == "ok"), key=lambda run: run.seed):
        value = _value(run, quantity.name)
        if value is not None and math.isfinite(value):
            clock = clock_of(run.pack_size, run.samples_per_s, run.seed) if per_pack else run.seed
            values.setdefault(clock, (run.seed, value))
    return dict(values.values())


def interval_of(values: Sequence[float], quantity: Quantity, method: Method = CURRENT) -> Interval:
    """Return the mean of at least one value with its interval, as declared by the quantity."""
    if not method.within_range:
        return mean_interval(values)
    if quantity.mean == "geometric" and min(values) > 0:
        return log_mean_interval(values)
    return mean_interval(values, quantity.range)


def one_per_pack(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return one run of each pack, and all runs without a pack."""
    return list({clock_of(run.pack_size, run.samples_per_s, run.seed): run for run in runs}.values())


def clock_of(pack_size: int | None, samples_per_s: float | None, alone: Hashable) -> Hashable:
    """Return a key that is equal for the runs of one pack, and ``alone`` for a run without a pack.

    The throughputs of a pack come from the same clock readings and are bit-equal.
    """
    in_pack = pack_size is not None and pack_size > 1 and samples_per_s is not None
    return ("pack", samples_per_s) if in_pack else alone


def _value(run: RunRecord, name: str) -> float | None:
    """Return a measurement, the field of the run with that name, or the metric of the last epoch."""
    of_epoch = run.epochs[-1].value(name) if run.epochs else None
    value = run.measurements.get(name, getattr(run, name, of_epoch))
    return float(value) if isinstance(value, int | float) else None
