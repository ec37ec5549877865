"""One quantity at one point: how the seeds of the two sides compare there."""

from __future__ import annotations

from dnlbench.compare.model import Cell
from dnlbench.compare.sides import Sides
from dnlbench.profiles import Verdict, interval_of, judge
from dnlbench.stats import RatioTest, ratio_test, seeds_left_out
from dnlbench.studies import Quantity


def cell_test(quantity: Quantity, sides: Sides) -> RatioTest:
    """Test the ratio at one point."""
    if obstacle := sides.obstacle(quantity):
        return RatioTest(problem=obstacle)
    found = ratio_test(*sides.weighed(quantity), may_be_paired=sides.may_be_paired(quantity))
    return found.without_spread() if sides.advisory(quantity) else found


def make_cell(quantity: Quantity, sides: Sides, test: RatioTest, p_adjusted: float | None, *, main: bool) -> Cell:
    """Judge one point; a failed run counts against the study's ``main`` quantity alone, once."""
    ours, theirs = sides.values(quantity)
    means = [interval_of(list(values.values()), quantity) if values else None for values in sides.shown(quantity)]
    verdict: Verdict | None
    if main and (failed := ", ".join(f"seed {run.seed} {run.status}" for run in sides.new_failures)):
        verdict, reason = "worse", failed
    elif rounding := sides.rounding(quantity):
        verdict, reason = "no difference", rounding
    elif test.ratio is None:
        verdict, reason = "not comparable", test.problem
    elif advisory := sides.advisory(quantity):
        verdict, reason = "not comparable", advisory
    elif quantity.follows:
        verdict, reason = None, ""
    else:
        verdict, reason = judge(test.ratio, quantity, p_adjusted)
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
        reason="; ".join(filter(None, (reason, seeds_left_out(ours, theirs) if test.paired else ""))),
    )
