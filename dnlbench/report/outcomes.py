"""Tables of the cost to reach a target loss, and of losses that still change at the end of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.profiles import Profile
from dnlbench.profiles.budgets import BUDGETS, Budget
from dnlbench.profiles.final_slopes import FEWEST_EPOCHS, LAST_FRACTION, LEVEL_WITHIN, FinalSlope, final_slopes
from dnlbench.profiles.targets import Target, TargetPoint, TargetTest, target_of, target_points, target_tests
from dnlbench.profiles.tuning import runs_at_best
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import named, p_text
from dnlbench.stats import LEVEL, Interval


def outcome_grids(profile: Profile) -> Iterator[Grid]:
    """Yield the cost to reach the target loss of the spec, and the change of losses at the end of training."""
    if target := target_of(profile.spec):
        yield from _target_grids(profile, target)
    quantities = {quantity.name: quantity for quantity in profile.declared.quantities}
    for name, metric in profile.declared.against_budget:
        if slopes := final_slopes(profile.runs, metric):
            yield _slope_grid(quantities[name].label, slopes)


def transient_note(profile: Profile, name: str) -> str:
    """Return the points at which the loss of a quantity still falls; empty if there are none, or for other quantities.

    For the loss at the best value of a tuned setting, the points are those at the tried value that is nearest to it.
    """
    runs, tuning = profile.runs, profile.declared.tuning
    if tuning is not None and name == tuning.loss.name:
        name, runs = tuning.quantity, runs_at_best(profile.runs, profile.summary.tuned)
    metric = dict(profile.declared.against_budget).get(name)
    slopes = final_slopes(runs, metric) if metric else ()
    falling = [each for each in slopes if each.verdict == "still falling"]
    if not falling:
        return ""
    where = named([each.point.title for each in falling], f"of {len(slopes)} points")
    return f"not final: the loss still falls at the end of training at {where}; more epochs can change the verdicts"


def _target_grids(profile: Profile, target: Target) -> Iterator[Grid]:
    points = target_points(profile, target)
    if not points:
        return
    label = next((each.label for each in profile.declared.epoch_metrics if each.name == target.metric), target.metric)
    title = f"Cost to reach {label} {units.number(target.loss)}"
    budgets = [budget for budget in BUDGETS if any(budget.name in point.costs for point in points)]
    yield _cost_grid(title, points, budgets)
    if tests := target_tests(profile, target):
        yield _test_grid(f"{title}: tests of the epochs", points, tests)


def _cost_grid(title: str, points: Sequence[TargetPoint], budgets: Sequence[Budget]) -> Grid:
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head="reached", numeric=True),
        Column(head="epochs", numeric=True),
        *(Column(head=budget.label, numeric=True, drop_order=1) for budget in budgets),
    ]
    rows = [
        [
            point.point.series,
            str(point.point.depth),
            f"{point.reached} of {point.n}",
            _epochs(point),
            *(_cost(point, budget) for budget in budgets),
        ]
        for point in points
    ]
    note = ["means over seeds, with 95 % t intervals of epochs; whole epochs count"]
    if any(point.is_censored for point in points):
        note.append(
            ">: a run that does not reach the target counts with its whole budget, so the mean is larger than this"
        )
    if left_out := sum(point.left_out for point in points):
        note.append(f"{units.counted(left_out, 'run')} left out: neither finished nor diverged")
    return Grid(title=title, columns=columns, rows=rows, note="\n".join(note))


def _epochs(point: TargetPoint) -> str:
    mean = point.epochs
    if point.is_censored:
        return f"> {units.number(mean.estimate)}"
    varies = mean.low is not None and mean.low < mean.estimate
    return units.estimated(mean.estimate, mean.low, mean.high) if varies else units.number(mean.estimate)


def _cost(point: TargetPoint, budget: Budget) -> str:
    cost: Interval | None = point.costs.get(budget.name)
    if cost is None:
        return units.NOTHING
    return f"{'> ' if point.is_censored else ''}{budget.text(cost.estimate)}"


def _test_grid(title: str, points: Sequence[TargetPoint], tests: Sequence[TargetTest]) -> Grid:
    by_point = {point.point: point for point in points}
    rows = []
    for test in tests:
        pair = [by_point[test.against], by_point[test.point]]
        rows.append(
            [
                " → ".join(dict.fromkeys(each.point.series for each in pair)),
                " → ".join(dict.fromkeys(str(each.point.depth) for each in pair)),
                " → ".join(_epochs(each) for each in pair),
                p_text(test.p_adjusted),
                test.verdict,
            ]
        )
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head="epochs", numeric=True),
        Column(head="p (Holm)", numeric=True),
        Column(head="verdict", no_wrap=True),
    ]
    note = "exact rank-sum tests; runs that do not reach the target within the smaller budget rank last"
    if (smallest := min(test.smallest_p for test in tests)) >= 1 - LEVEL:
        note += f"\ntoo few seeds for a verdict: no p value can be below {p_text(smallest)}"
    return Grid(title=title, columns=columns, rows=rows, note=note)


def _slope_grid(label: str, slopes: Sequence[FinalSlope]) -> Grid:
    rows = [[each.point.series, str(each.point.depth), str(each.epochs), each.text, each.verdict] for each in slopes]
    columns = [
        Column(head="network", no_wrap=True),
        Column(head="L", numeric=True),
        Column(head="last epochs", numeric=True, drop_order=1),
        Column(head="change [95 % CI]", numeric=True),
        Column(head="at the end", no_wrap=True),
    ]
    note = (
        f"slope of the log loss over the last 1/{LAST_FRACTION} of the epochs, at least {FEWEST_EPOCHS}; t interval over "
        f"seeds; level: changes by at most {units.percent(LEVEL_WITHIN)} over these epochs"
    )
    return Grid(title=f"Enough training? {label}", columns=columns, rows=rows, note=note)
