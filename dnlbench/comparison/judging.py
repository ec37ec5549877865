"""The test and verdict of one quantity: at one point, and over all depths of a network.

Depths of one seed are not independent of each other. Intervals that pool depths and seeds would cover the true ratio in only 83
to 88 of 100 cases. The mean over depths is therefore taken within each seed, and the test is over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnlbench.comparison.model import Cell, Overall
from dnlbench.comparison.points import PointPair
from dnlbench.profiles import Verdict, interval_of, judge
from dnlbench.stats import RatioTest, geometric_mean, ratio_test, seeds_left_out, seeds_text
from dnlbench.studies import Quantity
from dnlbench.studies.base import TUNED_LOSS

ByDepth = Mapping[int, Mapping[int, float]]
"""Values by depth and seed."""


def cell_test(quantity: Quantity, pair: PointPair) -> RatioTest:
    """Test the ratio at one point."""
    if obstacle := pair.obstacle(quantity):
        return RatioTest(problem=obstacle)
    test = ratio_test(*pair.ratio_values(quantity), may_be_paired=pair.may_be_paired(quantity))
    return test.without_spread() if pair.advisory(quantity) else test


def make_cell(quantity: Quantity, pair: PointPair, test: RatioTest, p_adjusted: float | None, *, main: bool) -> Cell:
    """Return the cell of one point. A failed run counts against the study's ``main`` quantity only."""
    means = [interval_of(list(values.values()), quantity) if values else None for values in pair.shown(quantity)]
    failed = [f"seed {run.seed} {run.status}" for run in pair.new_failures] if main else []
    rounding, advisory = pair.rounding(quantity), pair.advisory(quantity)
    verdict, reason = _verdict(quantity, test, p_adjusted, failed=failed, advisory=advisory, rounding=rounding)
    left_out = seeds_left_out(*pair.values(quantity)) if test.paired else ""
    return Cell(
        network=pair.point.series,
        depth=pair.point.depth,
        quantity=quantity,
        reference=means[0],
        candidate=means[1],
        ratio=test.ratio,
        ratios=test.ratios,
        paired=test.paired,
        p=None if quantity.follows else test.p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, left_out))),
    )


@dataclass(frozen=True, kw_only=True)
class OverallTest:
    """The test of a network over its depths, before the verdict."""

    depths: tuple[PointPair, ...]
    """The depths that contribute."""
    seeds: tuple[int, ...]
    test: RatioTest
    left_out: tuple[str, ...]
    unjudged: tuple[int, ...]
    advisory: str = ""
    """See `Overall.advisory`."""


def make_overall(
    quantity: Quantity, depths: Sequence[PointPair], tested: OverallTest, p_adjusted: float | None, *, main: bool
) -> Overall:
    """Return the overall value of one network. A failed run counts against the study's ``main`` quantity only."""
    failed = [f"seed {run.seed} {run.status} at L={run.depth}" for pair in depths for run in pair.new_failures if main]
    verdict, reason = _verdict(quantity, tested.test, p_adjusted, failed=failed, advisory=tested.advisory)
    return Overall(
        network=depths[0].point.series,
        quantity=quantity,
        depths=tuple(pair.point.depth for pair in tested.depths),
        seeds=tested.seeds,
        ratio=tested.test.ratio,
        ratios=tested.test.ratios,
        log_ratio=tested.test.log_ratio,
        paired=tested.test.paired,
        p=None if quantity.follows else tested.test.p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason=reason,
        left_out="; ".join(tested.left_out),
        unjudged=tested.unjudged,
        advisory=tested.advisory,
    )


def overall_test(quantity: Quantity, depths: Sequence[PointPair]) -> OverallTest:
    """Test the ratio of one network over its depths."""
    problems = {pair.point.depth: _problem(quantity, pair) for pair in depths}
    used = tuple(pair for pair in depths if not problems[pair.point.depth])
    unjudged = tuple(pair.point.depth for pair in depths if _is_unjudged(quantity, pair))
    if not used:
        problem = "; ".join(dict.fromkeys(problems.values()))
        return OverallTest(depths=(), seeds=(), test=RatioTest(problem=problem), left_out=(), unjudged=unjudged)
    ours, theirs = ({pair.point.depth: pair.ratio_values(quantity)[index] for pair in used} for index in (0, 1))
    left_out = tuple(f"leaves out L={depth}: {problem}" for depth, problem in problems.items() if problem)
    try:
        means = _means(ours), _means(theirs)
    except ValueError as error:
        test = RatioTest(problem=str(error))
        return OverallTest(depths=used, seeds=(), test=test, left_out=left_out, unjudged=unjudged)
    test = _test(means, may_be_paired=used[0].may_be_paired(quantity))
    advisory = next(filter(None, (pair.advisory(quantity) for pair in used)), "")
    seeds = {seed for seed, _ in test.ratios} if test.paired else {*means[0], *means[1]}
    return OverallTest(
        depths=used,
        seeds=tuple(sorted(seeds)),
        test=test.without_spread() if advisory else test,
        left_out=(*left_out, *_seeds_left_out(ours, theirs, means, test)),
        unjudged=unjudged,
        advisory=advisory,
    )


def _problem(quantity: Quantity, pair: PointPair) -> str:
    if obstacle := pair.obstacle(quantity):
        return obstacle
    ours, theirs = pair.values(quantity)
    if ours and theirs:
        return ""
    needed = "best value" if quantity.name == TUNED_LOSS else "finished run"
    return f"no {needed} in the {'candidate' if ours else 'reference'}"


def _is_unjudged(quantity: Quantity, pair: PointPair) -> bool:
    """Return True if the candidate may be worse at a point that is not compared. Failed runs are rated elsewhere."""
    ours, theirs = pair.values(quantity)
    if quantity.name == TUNED_LOSS and ours and not theirs:
        return True
    return bool(ours and theirs and pair.obstacle(quantity))


def _means(depths: ByDepth) -> dict[int, float]:
    """Return the geometric mean over depths by seed, for the seeds with a value at every depth."""
    complete = set.intersection(*(set(values) for values in depths.values()))
    return {seed: geometric_mean([values[seed] for values in depths.values()]) for seed in sorted(complete)}


def _test(means: tuple[Mapping[int, float], Mapping[int, float]], *, may_be_paired: bool) -> RatioTest:
    if not all(means):
        role = "candidate" if means[0] else "reference"
        return RatioTest(problem=f"no seed of the {role} has a value at every depth")
    return ratio_test(*means, may_be_paired=may_be_paired)


def _seeds_left_out(
    ours: ByDepth, theirs: ByDepth, means: tuple[Mapping[int, float], Mapping[int, float]], test: RatioTest
) -> Iterator[str]:
    """Name the seeds that do not count because a depth or the other profile has no value for them."""
    seen = [{seed for values in depths.values() for seed in values} for depths in (ours, theirs)]
    if test.paired:
        if missing := (seen[0] | seen[1]) - {seed for seed, _ in test.ratios}:
            yield f"leaves out {seeds_text(missing)} (not at every depth in both profiles)"
        return
    for role, seeds, mean in zip(("reference", "candidate"), seen, means, strict=True):
        if missing := seeds - mean.keys():
            yield f"leaves out {seeds_text(missing)} of the {role} (not at every depth)"


def _verdict(
    quantity: Quantity,
    test: RatioTest,
    p_adjusted: float | None,
    *,
    failed: Sequence[str],
    advisory: str,
    rounding: str = "",
) -> tuple[Verdict | None, str]:
    if failed:
        return "worse", ", ".join(failed)
    if rounding:
        return "no difference", rounding
    if test.ratio is None:
        return "not comparable", test.problem
    if advisory:
        return "not comparable", advisory
    return (None, "") if quantity.follows else judge(test.ratio, quantity, p_adjusted)
