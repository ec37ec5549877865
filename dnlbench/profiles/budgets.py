"""Results against the budget of a run: parameters, operations, time and memory.

A budget that grows during training also allows to compare depths at equal budgets: the loss of a run at a budget is
interpolated between two epochs, linearly in the logarithms of budget and loss.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from dnlbench import units
from dnlbench.profiles.hardware import alike
from dnlbench.profiles.model import RunRecord
from dnlbench.profiles.values import by_point, interval_of, values_of
from dnlbench.stats import Interval, log_mean_interval
from dnlbench.stats.best import best_of
from dnlbench.stats.vertex import NoMinimumError, fit_minimum
from dnlbench.studies import Point, Quantity

BudgetName = Literal["parameters", "flops", "time", "memory"]
APART = 1.1
"""Minimum ratio of two budgets at which depths are compared."""
WIDEST_EQUAL = 2.0
"""Ratio of the largest to the smallest number of parameters below which no optimum is fitted."""
_ROUNDING = 1e-9
"""Relative difference below which two budgets are equal."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A kind of budget of a run."""

    name: BudgetName
    label: str
    kind: Literal["count", "seconds", "bytes"]
    unit: str = ""
    """Follows the decimal prefix; empty for parameters, and for times and bytes, whose formats include it."""
    hardware_dependent: bool = False
    grows: bool = False
    """True if training consumes it epoch by epoch."""

    def text(self, value: float) -> str:
        """Format a budget with its unit: ``1.23 TFLOP``, ``12.4 k``, ``35.2 s``, ``1.2 GiB``."""
        if self.kind == "seconds":
            return units.seconds(value)
        if self.kind == "bytes":
            return units.size(value)
        text = units.count(value)
        return f"{text}{self.unit}" if text[-1].isalpha() else f"{text} {self.unit}".strip()


BUDGETS = (
    Budget(name="parameters", label="parameters", kind="count"),
    Budget(name="flops", label="training FLOPs", kind="count", unit="FLOP", grows=True),
    Budget(name="time", label="training time", kind="seconds", hardware_dependent=True, grows=True),
    Budget(name="memory", label="peak memory", kind="bytes", hardware_dependent=True),
)


@dataclass(frozen=True, kw_only=True)
class BudgetPoint:
    """The mean of a quantity at a point with the mean budget of its runs."""

    point: Point
    spent: float
    value: Interval
    on_front: bool = False
    """No other point has a better value for at most this budget."""


@dataclass(frozen=True, kw_only=True)
class BestDepth:
    """The best depth of a network at a budget, by a loss."""

    network: str
    budget: Budget
    at: float
    losses: Mapping[int, Interval]
    """Geometric means over seeds, with intervals, by depth."""
    best: int
    members: tuple[int, ...]
    """The depths that may be the best one, a 95 % confidence set; empty if there is no test."""
    optimal_parameters: Interval | None = None
    """Minimum of a parabola of log loss over log parameters; see `dnlbench.stats.vertex`."""
    no_optimum: str = ""
    """The reason for missing optimal parameters."""
    ended: tuple[int, ...] = ()
    """Depths that trained for less than this budget."""
    not_started: tuple[int, ...] = ()
    """Depths whose first epoch needs more than this budget."""

    @property
    def text(self) -> str:
        """Return ``L = 8 [4, 16]``: the best depth with the range of depths that may be the best one."""
        ends = f" [{min(self.members)}, {max(self.members)}]" if self.members else ""
        return f"L = {self.best}{ends}"


def equal_budget(runs: Iterable[RunRecord]) -> str:
    """Return ``at equal parameters (± 2.6 %)`` for runs with matched budgets, else an empty string."""
    matched = [run.matched for run in runs if run.matched]
    if not matched:
        return ""
    label = {"flops": "training FLOPs", "time": "estimated training time"}.get(matched[0].quantity, matched[0].quantity)
    return f"at equal {label} (± {units.percent(max(abs(each.mismatch) for each in matched))})"


def spent(run: RunRecord, budget: Budget, samples: int | None) -> float | None:
    """Return the budget of a run with ``samples`` training samples per epoch; None if unknown.

    The runs of a pack share their time equally.
    """
    if budget.name == "parameters":
        return run.parameters
    if budget.name == "memory":
        return run.peak_memory_bytes
    costs = cumulated(run, budget, samples)
    return costs[-1] if costs else None


def budget_points(
    runs: Iterable[RunRecord], quantity: Quantity, budget: Budget, samples: int | None
) -> tuple[BudgetPoint, ...]:
    """Return the points with a value and a budget, in the order of the runs, and mark the Pareto front.

    Only successful runs count; for budgets that depend on the hardware, only those on the most common hardware.
    """
    points = list(_points(_counted(runs, budget), quantity, budget, samples))
    front = _front(points, quantity)
    return tuple(replace(each, on_front=each.point in front) for each in points)


def best_depths(runs: Iterable[RunRecord], metric: str, budget: Budget, samples: int | None) -> tuple[BestDepth, ...]:
    """Return the best depth of each network at equal budgets, for each budget at which a depth ends and others are known.

    Args:
        runs: the runs of a profile; unsuccessful ones don't count.
        metric: name of a metric of epochs; lower is better.
        budget: a budget that grows during training.
        samples: training samples per epoch.
    """
    networks: dict[str, dict[int, list[_Curve]]] = {}
    for point, group in by_point(_counted(runs, budget)).items():
        curves = [curve for run in group if (curve := _curve(run, metric, budget, samples))]
        if curves:
            networks.setdefault(point.series, {})[point.depth] = curves
    return tuple(best for network, depths in networks.items() for best in _best_depths(network, depths, budget))


def _points(
    runs: Iterable[RunRecord], quantity: Quantity, budget: Budget, samples: int | None
) -> Iterator[BudgetPoint]:
    for point, group in by_point(runs).items():
        values = list(values_of(group, quantity).values())
        budgets = [each for run in group if (each := spent(run, budget, samples))]
        if values and budgets:
            yield BudgetPoint(point=point, spent=fmean(budgets), value=interval_of(values, quantity))


def _counted(runs: Iterable[RunRecord], budget: Budget) -> list[RunRecord]:
    ok = [run for run in runs if run.status == "ok"]
    return alike(ok) if budget.hardware_dependent else ok


def _front(points: Sequence[BudgetPoint], quantity: Quantity) -> set[Point]:
    sign = -1 if quantity.better == "higher" else 1
    front, best = set(), math.inf
    for each in sorted(points, key=lambda each: (each.spent, sign * each.value.estimate)):
        if sign * each.value.estimate < best:
            front.add(each.point)
            best = sign * each.value.estimate
    return front


def cumulated(run: RunRecord, budget: Budget, samples: int | None) -> list[float]:
    """Return the budget at the end of each epoch; empty if unknown."""
    if budget.name == "time":
        seconds = (epoch.seconds / (run.pack_size or 1) for epoch in run.epochs)
        return list(itertools.accumulate(seconds))
    samples = run.samples or samples
    if run.flops_per_sample is None or samples is None:
        return []
    return [epoch.epoch * samples * run.flops_per_sample for epoch in run.epochs]


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """The loss of a run over its budget, as logarithms."""

    seed: int
    parameters: int | None
    spent: Sequence[float]
    losses: Sequence[float]

    def at(self, spent: float) -> float:
        """Interpolate the loss at a budget between the first and the last epoch."""
        x = min(max(math.log(spent), self.spent[0]), self.spent[-1])
        index = min(max(1, bisect_left(self.spent, x)), len(self.spent) - 1)
        (x0, x1), (y0, y1) = self.spent[index - 1 : index + 1], self.losses[index - 1 : index + 1]
        return math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0))


def _curve(run: RunRecord, metric: str, budget: Budget, samples: int | None) -> _Curve | None:
    """Return None for fewer than two epochs and for losses without a logarithm."""
    costs, losses = cumulated(run, budget, samples), [epoch.value(metric) for epoch in run.epochs]
    known = [(cost, loss) for cost, loss in zip(costs, losses, strict=False) if loss is not None]
    if len(known) < 2 or not all(cost > 0 and 0 < loss < math.inf for cost, loss in known):
        return None
    spent, logs = zip(*((math.log(cost), math.log(loss)) for cost, loss in known), strict=True)
    return _Curve(seed=run.seed, parameters=run.parameters, spent=spent, losses=logs)


def _best_depths(network: str, depths: Mapping[int, Sequence[_Curve]], budget: Budget) -> Iterator[BestDepth]:
    starts = {depth: math.exp(max(curve.spent[0] for curve in curves)) for depth, curves in depths.items()}
    ends = {depth: math.exp(min(curve.spent[-1] for curve in curves)) for depth, curves in depths.items()}
    last = 0.0
    for at in sorted(ends.values()):
        started = [depth for depth in sorted(depths) if starts[depth] <= at * (1 + _ROUNDING)]
        known = [depth for depth in started if ends[depth] >= at * (1 - _ROUNDING)]
        if at < APART * last or len(known) < 2:
            continue
        last = at
        samples = [{curve.seed: curve.at(at) for curve in depths[depth]} for depth in known]
        best, (optimum, reason) = best_of(samples), _optimum([depths[depth][0].parameters for depth in known], samples)
        yield BestDepth(
            network=network,
            budget=budget,
            at=at,
            losses={d: log_mean_interval(list(s.values())) for d, s in zip(known, samples, strict=True)},
            best=known[best.index],
            members=tuple(known[index] for index in best.members),
            optimal_parameters=optimum,
            no_optimum=reason,
            ended=tuple(depth for depth in started if depth not in known),
            not_started=tuple(depth for depth in sorted(depths) if depth not in started),
        )


def _optimum(parameters: Sequence[int | None], samples: Sequence[Mapping[int, float]]) -> tuple[Interval | None, str]:
    """Return the optimal number of parameters over the seeds with a loss at every depth, or the reason for none."""
    known = [each for each in parameters if each]
    seeds = [seed for seed in samples[0] if all(seed in sample for sample in samples)]
    if len(known) < len(parameters) or not seeds:
        return None, "not all depths have parameters and losses of the same seeds"
    if max(known) < WIDEST_EQUAL * min(known):
        return None, "the depths have nearly equal parameters"
    try:
        return fit_minimum(known, [[sample[seed] for sample in samples] for seed in seeds]), ""
    except NoMinimumError as error:
        return None, str(error)
