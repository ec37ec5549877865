"""Epochs, operations and time until a run reaches a target loss.

A run that never reaches the target is censored: all that is known is that it needs more than its budget. It is not left out,
since a mean over the others would be lowest where only lucky seeds arrive. It counts with its whole budget. The mean is then
the restricted mean: a lower bound of the mean cost, and equal to it if all runs reach the target.

A median over seeds would be an alternative, but three to five seeds have no 95 % interval for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from dnlbench.profiles.budgets import BUDGETS, Budget, cumulated
from dnlbench.profiles.contrasts import pairs_of
from dnlbench.profiles.hardware import alike
from dnlbench.profiles.model import Profile, RunRecord
from dnlbench.profiles.values import by_point
from dnlbench.stats import LEVEL, Interval, holm, mean_interval
from dnlbench.stats.ranks import rank_sum_p, smallest_rank_sum_p
from dnlbench.studies import Point


@dataclass(frozen=True, kw_only=True)
class Target:
    """A loss to reach."""

    loss: float
    metric: str
    """Name of the metric of epochs."""


@dataclass(frozen=True, kw_only=True)
class TargetPoint:
    """The cost of reaching the target at a point."""

    point: Point
    reached: int
    n: int
    """Number of runs that finished or diverged; a run that diverges before the target never reaches it."""
    left_out: int
    """Number of other runs: failed, cancelled or not started."""
    budget: int
    """Epochs of a run."""
    epochs: Interval
    """Restricted mean; a lower bound of the mean if not all runs reach the target."""
    costs: Mapping[str, Interval]
    """Restricted means of ``flops`` and ``time``, as far as they are known for all runs."""

    @property
    def is_censored(self) -> bool:
        return self.reached < self.n


@dataclass(frozen=True, kw_only=True)
class TargetTest:
    """A rank-sum test of the epochs to the target between two points, up to the smaller budget of both."""

    point: Point
    against: Point
    p_adjusted: float
    """Adjusted by Holm's method over all tests of the profile."""
    smallest_p: float
    """Smallest p value, not adjusted, that this number of seeds allows."""
    earlier: bool
    """Most pairs of runs have the one of ``point`` reach the target first."""

    @property
    def verdict(self) -> Literal["sooner", "later", "inconclusive"]:
        if self.p_adjusted >= 1 - LEVEL:
            return "inconclusive"
        return "sooner" if self.earlier else "later"


def target_of(spec: Mapping[str, Any]) -> Target | None:
    """Return the target of a training spec; None without one."""
    train = spec.get("train", {})
    loss = train.get("target_loss")
    return (
        None if loss is None else Target(loss=loss, metric="evaluation_loss" if train.get("evaluate") else "train_loss")
    )


def target_points(profile: Profile, target: Target) -> tuple[TargetPoint, ...]:
    """Return the points with runs that finished or diverged, in the order of the runs."""
    return tuple(
        _point(profile, target, point, group, counted)
        for point, group in by_point(profile.runs).items()
        if (counted := _counted(group))
    )


def target_tests(profile: Profile, target: Target) -> tuple[TargetTest, ...]:
    """Test each depth against the one before, and each network against the first one at equal depth."""
    points = {point: counted for point, runs in by_point(profile.runs).items() if (counted := _counted(runs))}
    pairs = list(pairs_of(points))
    groups = [_until(profile, target, points, pair) for pair in pairs]
    adjusted = holm([rank_sum_p(*group) for group in groups])
    return tuple(
        TargetTest(
            point=point,
            against=against,
            p_adjusted=p,
            smallest_p=smallest_rank_sum_p(len(group[0]), len(group[1])),
            earlier=sum((new < old) - (new > old) for old, new in product(*group)) > 0,
        )
        for (against, point), group, p in zip(pairs, groups, adjusted, strict=True)
        if p is not None
    )


def epochs_to(run: RunRecord, target: Target) -> int | None:
    """Return the first epoch whose loss is at most the target; None if there is none."""
    losses = ((epoch.epoch, epoch.value(target.metric)) for epoch in run.epochs)
    return next((epoch for epoch, loss in losses if loss is not None and loss <= target.loss), None)


def _counted(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if run.status in ("ok", "diverged")]


def _point(
    profile: Profile, target: Target, point: Point, runs: Sequence[RunRecord], counted: Sequence[RunRecord]
) -> TargetPoint:
    budget = _budget(profile, counted[0])
    costs: dict[str, Interval] = {}
    for each in BUDGETS:
        costs_of_runs = [
            _cost(profile, target, run, each) for run in (alike(counted) if each.hardware_dependent else counted)
        ]
        known = [cost for cost in costs_of_runs if cost is not None]
        if each.grows and known and len(known) == len(costs_of_runs):
            costs[each.name] = mean_interval(known, "positive")
    return TargetPoint(
        point=point,
        reached=sum(epochs_to(run, target) is not None for run in counted),
        n=len(counted),
        left_out=len(runs) - len(counted),
        budget=budget,
        epochs=mean_interval([float(epochs_to(run, target) or budget) for run in counted], "positive"),
        costs=costs,
    )


def _budget(profile: Profile, run: RunRecord) -> int:
    """Return the number of epochs that a run has if it finishes."""
    if run.matched and run.matched.key == "train.epochs":
        return run.matched.value
    return int(run.settings.get("train.epochs", profile.spec["train"]["epochs"]))


def _cost(profile: Profile, target: Target, run: RunRecord, budget: Budget) -> float | None:
    """Return the cost until the target, or of the whole run. Epochs after divergence cost as much as those before."""
    spent = cumulated(run, budget, profile.data.samples)
    if not spent:
        return None
    epochs = epochs_to(run, target) or _budget(profile, run)
    return spent[epochs - 1] if epochs <= len(spent) else spent[-1] * epochs / len(spent)


def _until(
    profile: Profile, target: Target, points: Mapping[Point, Sequence[RunRecord]], pair: tuple[Point, Point]
) -> tuple[list[float], list[float]]:
    """Return the epochs to the target of both points, infinite for runs that do not reach it within the smaller budget."""
    most = min(_budget(profile, points[point][0]) for point in pair)

    def epochs(point: Point) -> list[float]:
        reached = (epochs_to(run, target) for run in points[point])
        return [math.inf if epoch is None or epoch > most else float(epoch) for epoch in reached]

    return epochs(pair[0]), epochs(pair[1])
