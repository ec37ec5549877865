"""What the runs of a profile hold of a quantity."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from dnlbench.profiles.model import RunRecord
from dnlbench.stats import Interval, log_mean_interval, mean_interval
from dnlbench.studies import Point, Quantity


@dataclass(frozen=True, kw_only=True)
class Method:
    """How runs are summarized. Older profiles state what older versions of dnlbench made of their runs."""

    one_hardware: bool = True
    """Hardware-dependent values come from runs on one model of machine and device (since 0.7)."""
    one_per_pack: bool = True
    """A pack has one value of what is measured once for all its runs."""
    within_range: bool = True
    """Intervals stay inside the quantity's range, and means are those that the quantity declares."""
    local_orders: bool = True
    """A theory that bounds an order is compared with the limit of local orders, not with the mean slope."""


CURRENT = Method()


def by_point(runs: Iterable[RunRecord]) -> dict[Point, list[RunRecord]]:
    """Runs by network and depth, in the order in which they name these."""
    points: dict[Point, list[RunRecord]] = {}
    for run in runs:
        points.setdefault(run.point, []).append(run)
    return points


def values_of(runs: Iterable[RunRecord], quantity: Quantity, method: Method = CURRENT) -> dict[int, float]:
    """The finite values of a quantity by seed, for the runs of one point that are ``ok``.

    A pack is timed as a whole, so its runs are one sample of a hardware-dependent quantity, under the smallest of their seeds.
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
    """The mean of at least one value with its interval, as the quantity declares them."""
    if not method.within_range:
        return mean_interval(values)
    if quantity.mean == "geometric" and min(values) > 0:
        return log_mean_interval(values)
    return mean_interval(values, quantity.range)


def one_per_pack(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """The runs of one point, without those whose times another one of their pack has told."""
    return list({clock_of(run.pack_size, run.samples_per_s, run.seed): run for run in runs}.values())


def clock_of(pack_size: int | None, samples_per_s: float | None, alone: Hashable) -> Hashable:
    """Equal for runs of one pack: their throughputs come from the same clock readings and agree to the last bit.

    For a run that trained on its own it is ``alone``.
    """
    in_pack = pack_size is not None and pack_size > 1 and samples_per_s is not None
    return ("pack", samples_per_s) if in_pack else alone


def _value(run: RunRecord, name: str) -> float | None:
    """A measurement, a field of the run that is named as the quantity, or the last epoch's metric."""
    of_epoch = run.epochs[-1].value(name) if run.epochs else None
    value = run.measurements.get(name, getattr(run, name, of_epoch))
    return float(value) if isinstance(value, int | float) else None
