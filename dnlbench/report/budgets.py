"""Tables of losses against the budget of a run, and of the best depth at equal budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import Profile
from dnlbench.profiles.budgets import BUDGETS, BestDepth, Budget, BudgetPoint, best_depths, budget_points
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import quantity_head, value_text
from dnlbench.stats import Interval
from dnlbench.studies import Point, Quantity

FRONT = "*"
"""Marks the budget of a point on the Pareto front."""


def budget_grids(profile: Profile) -> Iterator[Grid]:
    """Yield, for each loss that the study shows against budgets, its Pareto fronts and the best depths at equal budgets."""
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    for name, metric in profile.declared.against_budget:
        by_budget = {
            budget: points
            for budget in BUDGETS
            if (points := budget_points(profile.runs, quantities[name], budget, profile.data.samples))
        }
        if len({point.point for points in by_budget.values() for point in points}) > 1:
            yield _fronts(quantities[name], by_budget)
        best = [
            best
            for budget in BUDGETS
            if budget.grows
            for best in best_depths(profile.runs, metric, budget, profile.data.samples)
        ]
        if best:
            yield _best(profile, quantities[name], best)


def _fronts(quantity: Quantity, by_budget: dict[Budget, tuple[BudgetPoint, ...]]) -> Grid:
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head=quantity_head(quantity), numeric=True),
        *(Column(head=budget.label, numeric=True, drop_order=len(BUDGETS) - k) for k, budget in enumerate(by_budget)),
    ]
    cells: dict[Point, dict[Budget, BudgetPoint]] = {}
    for budget, points in by_budget.items():
        for point in points:
            cells.setdefault(point.point, {})[budget] = point
    rows = [_front_row(quantity, point, known, list(by_budget)) for point, known in cells.items()]
    better = quantity.better or "lower"
    note = f"{FRONT}: on the Pareto front, no other row has a {better} loss for this budget or less"
    return Grid(title=f"{_title(quantity)} against budgets", columns=columns, rows=rows, note=note)


def _front_row(
    quantity: Quantity, point: Point, known: dict[Budget, BudgetPoint], budgets: Sequence[Budget]
) -> list[str]:
    value = next(iter(known.values())).value
    spent = (
        f"{budget.text(known[budget].spent)}{f' {FRONT}' if known[budget].on_front else ''}"
        if budget in known
        else units.NOTHING
        for budget in budgets
    )
    return [point.series, str(point.depth), value_text(quantity, value), *spent]


def _best(profile: Profile, quantity: Quantity, best: Sequence[BestDepth]) -> Grid:
    has_optimum = any(each.optimal_parameters for each in best)
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="budget", numeric=True),
        Column(head="best L [95 %]", numeric=True),
        Column(head=f"{quantity_head(quantity)} by L at this budget"),
        *([Column(head="optimal parameters [95 %]", numeric=True, drop_order=2)] if has_optimum else []),
        Column(head="not compared", drop_order=1),
    ]
    rows = [
        [
            each.network,
            each.budget.text(each.at),
            each.text.removeprefix("L = "),
            _losses(quantity, each),
            *([_optimal_parameters(each)] if has_optimum else []),
            _missing(each),
        ]
        for each in best
    ]
    note = [
        "each budget is that of whole runs at one depth; losses of more expensive depths are interpolated between epochs",
        "[ ]: range of the depths that are not significantly worse than another one (t tests at 5 % in total per row)",
    ]
    if has_optimum:
        note.append("optimal parameters: minimum of a parabola of log loss over log parameters, if it opens upward")
    if profile.spec.get("train", {}).get("schedule", "constant") != "constant":
        note.append(
            "before its last epoch, a run has a learning rate from the middle of its schedule, and a higher loss"
        )
    return Grid(
        title=f"Best depth at equal budgets: {quantity.label}", columns=columns, rows=rows, note="\n".join(note)
    )


def _losses(quantity: Quantity, best: BestDepth) -> str:
    means = (
        (depth, value_text(quantity, Interval(estimate=each.estimate, low=None, high=None, n=each.n)))
        for depth, each in best.losses.items()
    )
    return ", ".join(f"{depth}: {text}" for depth, text in means)


def _optimal_parameters(best: BestDepth) -> str:
    optimum = best.optimal_parameters
    if optimum is None:
        return units.NOTHING
    ends = "" if optimum.low is None else f" [{units.count(optimum.low)}, {units.count(optimum.high)}]"
    return f"{units.count(optimum.estimate)}{ends}"


def _missing(best: BestDepth) -> str:
    parts = [
        f"{', '.join(map(str, depths))}: {reason}"
        for depths, reason in ((best.ended, "trained for less"), (best.not_started, "first epoch costs more"))
        if depths
    ]
    return "; ".join(parts) or units.NOTHING


def _title(quantity: Quantity) -> str:
    return f"{quantity.label[0].upper()}{quantity.label[1:]}"
