"""Contrasts within one profile: depth with depth, and network with network.

Each depth of a network is compared with the depth before, and each network with the first one at equal depth. Runs of equal
seed see the data in equal order at every depth and with every network, but have different weights. A seed is therefore a block,
and values are paired by seed. If two points share fewer than two seeds, Welch's test replaces the paired t test. The p values
of all contrasts of a quantity in a profile form one family, adjusted by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dnlbench.profiles.model import ContrastRecord, PointRecord, RunRecord
from dnlbench.profiles.values import by_point, values_of
from dnlbench.profiles.verdicts import Verdict, judge
from dnlbench.stats import RatioTest, holm, ratio_test, seeds_left_out, seeds_text
from dnlbench.studies import Point, Quantity

Runs = Mapping[Point, Sequence[RunRecord]]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A quantity at one point over the same quantity at another one."""

    quantity: Quantity
    point: Point
    against: Point
    test: RatioTest
    p_adjusted: float | None
    """The p value adjusted by Holm's method over all contrasts of the quantity in the profile."""
    verdict: Verdict
    reason: str
    diverged: str
    """The seeds that diverged at this point and succeeded at the other one; empty if there are none."""
    survivors_only: bool
    """True if seeds diverged at either point, so that the ratio is over the other seeds only."""

    @property
    def record(self) -> ContrastRecord:
        ratio, p = self.test.ratio, self.test.p
        return ContrastRecord(
            **self.point.identity,
            against=PointRecord(**self.against.identity),
            quantity=self.quantity.name,
            ratio=ratio and ratio.estimate,
            low=ratio and ratio.low,
            high=ratio and ratio.high,
            n=ratio.n if ratio else 0,
            paired=self.test.paired,
            p=p,
            p_adjusted=self.p_adjusted,
            verdict=self.verdict,
            reason=self.reason,
        )


def contrasts_of(runs: Sequence[RunRecord], quantity: Quantity) -> tuple[Contrast, ...]:
    """Return every contrast of a quantity: by network each depth with the one before, then each network with the first."""
    points = by_point(runs)
    pairs = list(pairs_of(points))
    tests = [_test(points, quantity, *pair) for pair in pairs]
    adjusted = holm([test.chance_p for test in tests])
    return tuple(
        _contrast(points, quantity, pair, test, test.p if p is None else p)
        for pair, test, p in zip(pairs, tests, adjusted, strict=True)
    )


def pairs_of(points: Runs) -> Iterator[tuple[Point, Point]]:
    """Yield each depth of a network after the one before, then each network after the first one at equal depth."""
    yield from _depths(points)
    yield from _networks(points)


def _depths(points: Runs) -> Iterator[tuple[Point, Point]]:
    for network in dict.fromkeys(point.series for point in points):
        at_depths = sorted((point for point in points if point.series == network), key=lambda point: point.depth)
        yield from pairwise(at_depths)


def _networks(points: Runs) -> Iterator[tuple[Point, Point]]:
    first, *others = dict.fromkeys(point.series for point in points) or [""]
    of_first = {point.depth: point for point in points if point.series == first}
    for network in others:
        for point in sorted((point for point in points if point.series == network), key=lambda point: point.depth):
            if against := of_first.get(point.depth):
                yield against, point


def _test(points: Runs, quantity: Quantity, against: Point, point: Point) -> RatioTest:
    ours, theirs = values_of(points[against], quantity), values_of(points[point], quantity)
    if not ours or not theirs:
        empty = against if not ours else point
        return RatioTest(problem=f"no finished run of {empty.series} at L={empty.depth}")
    return ratio_test(ours, theirs, may_be_paired=True)


def _contrast(
    points: Runs, quantity: Quantity, pair: tuple[Point, Point], test: RatioTest, p_adjusted: float | None
) -> Contrast:
    against, point = pair
    diverged_seeds = [_seeds(points[each], "diverged") for each in pair]
    new = diverged_seeds[1] & _seeds(points[against], "ok")
    verdict: Verdict
    if new:
        verdict, reason = "worse", _diverged(new, point)
    elif test.ratio is None:
        verdict, reason = "not comparable", test.problem
    elif any(diverged_seeds):  # the remaining seeds are a selection: they did not diverge
        diverged = " and ".join(
            _diverged(seeds, each) for seeds, each in zip(diverged_seeds, pair, strict=True) if seeds
        )
        verdict, reason = "inconclusive", f"{diverged}, which the ratio leaves out"
    else:
        verdict, reason = judge(test.ratio, quantity, p_adjusted)
    ours, theirs = (values_of(points[each], quantity) for each in pair)
    names = tuple(f"at {each.series} L={each.depth}" for each in pair)
    left_out = seeds_left_out(ours, theirs, (names[0], names[1])) if test.paired and not any(diverged_seeds) else ""
    return Contrast(
        quantity=quantity,
        point=point,
        against=against,
        test=test,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, left_out))),
        diverged=_diverged(new, point) if new else "",
        survivors_only=any(diverged_seeds),
    )


def _seeds(runs: Sequence[RunRecord], status: str) -> set[int]:
    return {run.seed for run in runs if run.status == status}


def _diverged(seeds: set[int], point: Point) -> str:
    return f"{seeds_text(seeds)} diverged at {point.series} L={point.depth}"
