"""One quantity at each point: how the seeds of the two sides compare there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.compare.evidence import Evidence, left_out, weigh
from dnlbench.compare.model import Cell, Verdict
from dnlbench.compare.sides import Sides
from dnlbench.compare.verdicts import judge
from dnlbench.profiles import interval_of
from dnlbench.stats import holm
from dnlbench.studies import Quantity


def cells(quantity: Quantity, depths: Sequence[Sides], *, main: bool) -> Iterator[Cell]:
    """The cells of one network; their p values are adjusted for their number.

    That a run failed is held against the study's ``main`` quantity, once; the others are judged by the values that there are.
    """
    evidence = [_evidence(quantity, sides) for sides in depths]
    adjusted = holm([found.p for found in evidence])
    for sides, found, p_adjusted in zip(depths, evidence, adjusted, strict=True):
        yield _cell(quantity, sides, found, p_adjusted, main=main)


def _evidence(quantity: Quantity, sides: Sides) -> Evidence:
    if obstacle := sides.obstacle(quantity):
        return Evidence(problem=obstacle)
    found = weigh(*sides.weighed(quantity), may_be_paired=sides.may_be_paired(quantity))
    return found.without_spread() if sides.advisory(quantity) else found


def _cell(quantity: Quantity, sides: Sides, found: Evidence, p_adjusted: float | None, *, main: bool) -> Cell:
    ours, theirs = sides.values(quantity)
    means = [interval_of(list(values.values()), quantity) if values else None for values in sides.shown(quantity)]
    verdict: Verdict
    if main and (failed := ", ".join(f"seed {run.seed} {run.status}" for run in sides.new_failures)):
        verdict, reason = "worse", failed
    elif rounding := sides.rounding(quantity):
        verdict, reason = "no difference", rounding
    elif found.ratio is None:
        verdict, reason = "not comparable", found.problem
    elif advisory := sides.advisory(quantity):
        verdict, reason = "not comparable", advisory
    else:
        verdict, reason = judge(found.ratio, quantity, p_adjusted)
    return Cell(
        network=sides.point.network,
        depth=sides.point.depth,
        quantity=quantity,
        reference=means[0],
        candidate=means[1],
        ratio=found.ratio,
        ratios=found.ratios,
        paired=found.paired,
        p=found.p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, left_out(ours, theirs) if found.paired else ""))),
    )
