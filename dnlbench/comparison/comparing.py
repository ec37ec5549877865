"""Compare a candidate profile with a reference.

Runs of equal seed start from equal weights and see the data in equal order, so losses are paired by seed: over the seeds that
both profiles have, or unpaired if these are too few for a standard deviation. Throughput and memory depend on the machine. They
are compared at the points where all runs of both profiles used one model of machine and device, with equal threads, concurrent
runs and pack sizes. They are paired only in a paired benchmark. A pack counts as one sample of them. Without a paired
benchmark, throughputs have a ratio but no interval and no verdict: each profile is then one sample of the machine's state. All
intervals are at 95 %, on log ratios, not adjusted for the number of tests.

The p values of a quantity's cells form one family, those of its overall values another. Holm's method within each family and
over all families of a comparison keeps the probability of any better or worse verdict between equal profiles at 5 % or less.
Values without any spread, such as most peaks of memory, are not tested: their ratio is 1 or it is not. A quantity that follows
another one, as utilization follows throughput, has no verdict and no p value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench.comparison.differences import differences, other_problem
from dnlbench.comparison.judging import OverallTest, cell_test, make_cell, make_overall, overall_test
from dnlbench.comparison.model import Cell, Comparison, Match, Overall
from dnlbench.comparison.points import PointPair, Points, matched_points, succeeded, tuned_points
from dnlbench.comparison.rounding import allow_other_execution
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.stats import RatioTest, count_families, holm_over_families
from dnlbench.studies import Quantity


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """A quantity with its tests, before the p values are adjusted."""

    quantity: Quantity
    networks: Mapping[str, Sequence[PointPair]]
    cells: Sequence[RatioTest]
    """The tests in the order of the networks and their depths."""
    overall: Sequence[OverallTest]
    """The tests over all depths, in the order of the networks."""

    @property
    def families(self) -> list[list[float | None]]:
        if self.quantity.follows:
            return [[None for _ in self.cells], [None for _ in self.overall]]
        return [[test.chance_p for test in self.cells], [result.test.chance_p for result in self.overall]]


def compare(
    reference: Profile, candidate: Profile, *, match: Match = "network", networks: tuple[str, str] | None = None
) -> Comparison:
    """Compare a candidate with a reference.

    By default points of equal network and depth are compared. With ``match="depth"`` one network of each profile is compared at
    equal depth. ``networks`` names them, that of the reference first; it may be None if each profile has one network.

    Raises:
        NotComparableError: if the studies or the data differ, or no points match.
    """
    _refuse(reference, candidate)
    ours, theirs = matched_points(reference, candidate, match, networks)
    points = _common_points(reference, candidate, ours, theirs)
    tuned = _common_points(reference, candidate, *tuned_points(reference, candidate))
    missing = {point: runs for point, runs in ours.items() if point not in theirs}
    main, *others = (quantity for quantity in reference.declared.quantities if quantity.compared)
    tested = [
        _tested(quantity, [*(points if quantity == main else _having(points, quantity)), *_having(tuned, quantity)])
        for quantity in (main, *others)
    ]
    families = [family for each in tested for family in each.families]
    adjusted = holm_over_families(families)
    cells: list[Cell] = []
    overall: list[Overall] = []
    for index, each in enumerate(tested):
        cells += _cells(each, adjusted[2 * index], main=each.quantity == main)
        overall += _overall(each, adjusted[2 * index + 1], main=each.quantity == main)
    comparison = Comparison(
        study=reference.study,
        quantities=reference.declared.quantities,
        reference=_title(reference),
        candidate=_title(candidate),
        interleaved=points[0].interleaved,
        differences=tuple(differences(reference, candidate)),
        cells=_in_order(cells, [*points, *tuned], [main, *others]),
        overall=tuple(_with_missing(result, missing) for result in overall),
        new_failures=tuple(run for pair in points for run in pair.new_failures),
        unfinished=(
            *(run for pair in points for run in pair.unfinished),
            *((point.series, run.depth, run.seed) for point, runs in missing.items() for run in succeeded(runs)),
        ),
        missing=tuple((point.series, point.depth) for point in missing),
        families=count_families(families),
        match=match,
    )
    return allow_other_execution(comparison, reference, candidate)


def _having(points: Iterable[PointPair], quantity: Quantity) -> list[PointPair]:
    return [pair for pair in points if pair.has(quantity)]


def _tested(quantity: Quantity, points: Sequence[PointPair]) -> _Tested:
    networks = _by_network(points)
    return _Tested(
        quantity=quantity,
        networks=networks,
        cells=[cell_test(quantity, pair) for depths in networks.values() for pair in depths],
        overall=[overall_test(quantity, depths) for depths in networks.values()],
    )


def _cells(tested: _Tested, adjusted: Sequence[float | None], *, main: bool) -> Iterator[Cell]:
    pairs = [pair for depths in tested.networks.values() for pair in depths]
    for pair, test, p in zip(pairs, tested.cells, adjusted, strict=True):
        yield make_cell(tested.quantity, pair, test, _or_certain(p, test, tested.quantity), main=main)


def _overall(tested: _Tested, adjusted: Sequence[float | None], *, main: bool) -> Iterator[Overall]:
    for depths, result, p in zip(tested.networks.values(), tested.overall, adjusted, strict=True):
        p_adjusted = _or_certain(p, result.test, tested.quantity)
        yield make_overall(tested.quantity, depths, result, p_adjusted, main=main)


def _or_certain(p_adjusted: float | None, test: RatioTest, quantity: Quantity) -> float | None:
    """Return the adjusted p value; values without spread have p = 0 or 1, which needs no adjustment."""
    return test.p if p_adjusted is None and not quantity.follows else p_adjusted


def _refuse(reference: Profile, candidate: Profile) -> None:
    if reference.study != candidate.study:
        raise NotComparableError(f"studies differ: {reference.study} and {candidate.study}")
    if split := reference.data.differing_split(candidate.data):
        raise NotComparableError(
            f"the data sets differ: {_data(reference)} and {_data(candidate)} have different {split} splits; "
            "compare profiles of the same data"
        )
    if problem := other_problem(reference, candidate):
        raise NotComparableError(f"the problems differ: {problem}")


def _common_points(reference: Profile, candidate: Profile, ours: Points, theirs: Points) -> list[PointPair]:
    session = reference.interleaved if reference.interleaved == candidate.interleaved else None
    return [
        PointPair(
            point=point,
            reference=ours[point],
            candidate=theirs[point],
            machines=(reference.machine, candidate.machine),
            interleaved=session or None,
        )
        for point in ours
        if point in theirs
    ]


def _with_missing(result: Overall, missing: Points) -> Overall:
    depths = [str(point.depth) for point in missing if point.series == result.network]
    if not depths:
        return result
    text = f"leaves out L={', '.join(depths)}: not in the candidate"
    return replace(result, left_out="; ".join(filter(None, (result.left_out, text))))


def _by_network(points: Iterable[PointPair]) -> dict[str, list[PointPair]]:
    networks: dict[str, list[PointPair]] = {}
    for pair in points:
        networks.setdefault(pair.point.series, []).append(pair)
    return networks


def _in_order(cells: Iterable[Cell], points: Iterable[PointPair], quantities: list[Quantity]) -> tuple[Cell, ...]:
    """Sort by quantity, then in the order of the reference's points, which need not be grouped by network."""
    positions = {(pair.point.series, pair.point.depth): index for index, pair in enumerate(points)}
    ranks = {quantity.name: rank for rank, quantity in enumerate(quantities)}
    return tuple(sorted(cells, key=lambda c: (ranks[c.quantity.name], positions[c.network, c.depth])))


def _title(profile: Profile) -> str:
    return f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _data(profile: Profile) -> str:
    return f"{profile.data.name} ({profile.data.samples} samples, {profile.data.sha256[:12]})"
