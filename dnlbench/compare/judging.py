"""One quantity tested and judged: at one point, and of each network as a single figure for all its depths.

Depths of one seed are not independent of each other, and pooled with the seeds they would give intervals that cover the truth
in 83 to 88 of 100 cases. So the mean over depths is taken within each seed, and the test is one over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnlbench.compare.model import Cell, Overall
from dnlbench.compare.points import PointPair
from dnlbench.profiles import Verdict, interval_of, judge
from dnlbench.stats import RatioTest, geometric_mean, ratio_test, seeds_left_out, seeds_text
from dnlbench.studies import Quantity

ByDepth = Mapping[int, Mapping[int, float]]
"""Values by depth and seed."""


def cell_test(quantity: Quantity, sides: PointPair) -> RatioTest:
    """Test the ratio at one point."""
    if obstacle := sides.obstacle(quantity):
        return RatioTest(problem=obstacle)
    found = ratio_test(*sides.ratio_values(quantity), may_be_paired=sides.may_be_paired(quantity))
    return found.without_spread() if sides.advisory(quantity) else found


def make_cell(quantity: Quantity, sides: PointPair, test: RatioTest, p_adjusted: float | None, *, main: bool) -> Cell:
    """Judge one point; a failed run counts against the study's ``main`` quantity alone, once."""
    means = [interval_of(list(values.values()), quantity) if values else None for values in sides.shown(quantity)]
    failed = [f"seed {run.seed} {run.status}" for run in sides.new_failures] if main else []
    rounding, advisory = sides.rounding(quantity), sides.advisory(quantity)
    verdict, reason = _verdict(quantity, test, p_adjusted, failed=failed, advisory=advisory, rounding=rounding)
    left_out = seeds_left_out(*sides.values(quantity)) if test.paired else ""
    return Cell(
        network=sides.point.network,
        depth=sides.point.depth,
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
    """What the depths of a network say together, before it is judged."""

    depths: tuple[PointPair, ...]
    """Those that contribute."""
    seeds: tuple[int, ...]
    test: RatioTest
    left_out: tuple[str, ...]
    unjudged: tuple[int, ...]
    advisory: str = ""
    """See `Overall.advisory`."""


def make_overall(
    quantity: Quantity, depths: Sequence[PointPair], figure: OverallTest, p_adjusted: float | None, *, main: bool
) -> Overall:
    """Judge the figure of one network; a failed run counts against the study's ``main`` quantity alone."""
    failed = [
        f"seed {run.seed} {run.status} at L={run.depth}" for sides in depths for run in sides.new_failures if main
    ]
    verdict, reason = _verdict(quantity, figure.test, p_adjusted, failed=failed, advisory=figure.advisory)
    return Overall(
        network=depths[0].point.network,
        quantity=quantity,
        depths=tuple(sides.point.depth for sides in figure.depths),
        seeds=figure.seeds,
        ratio=figure.test.ratio,
        ratios=figure.test.ratios,
        log_ratio=figure.test.log_ratio,
        paired=figure.test.paired,
        p=None if quantity.follows else figure.test.p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason=reason,
        left_out="; ".join(figure.left_out),
        unjudged=figure.unjudged,
        advisory=figure.advisory,
    )


def overall_test(quantity: Quantity, depths: Sequence[PointPair]) -> OverallTest:
    """Test the ratio of one network over its depths."""
    problems = {sides.point.depth: _problem(quantity, sides) for sides in depths}
    used = tuple(sides for sides in depths if not problems[sides.point.depth])
    unjudged = tuple(sides.point.depth for sides in depths if all(sides.values(quantity)) and sides.obstacle(quantity))
    if not used:
        problem = "; ".join(dict.fromkeys(problems.values()))
        return OverallTest(depths=(), seeds=(), test=RatioTest(problem=problem), left_out=(), unjudged=unjudged)
    ours, theirs = ({sides.point.depth: sides.ratio_values(quantity)[side] for sides in used} for side in (0, 1))
    left_out = tuple(f"leaves out L={depth}: {problem}" for depth, problem in problems.items() if problem)
    try:
        means = _means(ours), _means(theirs)
    except ValueError as error:
        test = RatioTest(problem=str(error))
        return OverallTest(depths=used, seeds=(), test=test, left_out=left_out, unjudged=unjudged)
    test = _test(means, may_be_paired=used[0].may_be_paired(quantity))
    advisory = next(filter(None, (sides.advisory(quantity) for sides in used)), "")
    seeds = {seed for seed, _ in test.ratios} if test.paired else {*means[0], *means[1]}
    return OverallTest(
        depths=used,
        seeds=tuple(sorted(seeds)),
        test=test.without_spread() if advisory else test,
        left_out=(*left_out, *_seeds_left_out(ours, theirs, means, test)),
        unjudged=unjudged,
        advisory=advisory,
    )


def _problem(quantity: Quantity, sides: PointPair) -> str:
    if obstacle := sides.obstacle(quantity):
        return obstacle
    ours, theirs = sides.values(quantity)
    return "" if ours and theirs else "no finished run in the " + ("candidate" if ours else "reference")


def _means(depths: ByDepth) -> dict[int, float]:
    """By seed, the geometric mean over depths, of the seeds that have a value at each of them."""
    complete = set.intersection(*(set(values) for values in depths.values()))
    return {seed: geometric_mean([values[seed] for values in depths.values()]) for seed in sorted(complete)}


def _test(means: tuple[Mapping[int, float], Mapping[int, float]], *, may_be_paired: bool) -> RatioTest:
    if not all(means):
        side = "candidate" if means[0] else "reference"
        return RatioTest(problem=f"no seed of the {side} has a value at every depth")
    return ratio_test(*means, may_be_paired=may_be_paired)


def _seeds_left_out(
    ours: ByDepth, theirs: ByDepth, means: tuple[Mapping[int, float], Mapping[int, float]], test: RatioTest
) -> Iterator[str]:
    """What seeds do not count, because a depth, or the other side, has no value for them."""
    seen = [{seed for values in depths.values() for seed in values} for depths in (ours, theirs)]
    if test.paired:
        if missing := (seen[0] | seen[1]) - {seed for seed, _ in test.ratios}:
            yield f"leaves out {seeds_text(missing)} (not at every depth on both sides)"
        return
    for side, seeds, mean in zip(("reference", "candidate"), seen, means, strict=True):
        if missing := seeds - mean.keys():
            yield f"leaves out {seeds_text(missing)} of the {side} (not at every depth)"


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
