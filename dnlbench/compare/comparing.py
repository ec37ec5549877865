"""Profile against profile.

Runs of equal seed start from equal weights and see the data in equal order, so losses are paired by seed: over the seeds that
both sides have, or not at all where those are too few to show a spread. Throughput and memory say something about the machine
too: they are compared at the points where all runs of both sides were on one and the same model of machine and device, with
equal threads, runs side by side and pack sizes, and paired only where the runs of both sides took turns. A pack is one sample
of them. Where the runs did not take turns, throughputs have a ratio but no interval and no verdict: then each side is one
sample, of the machine at its time. All intervals are at 95 %, on log-ratios, each by itself.

The p values of a quantity's cells are one family, and those of its overall figures another one. Holm's method within each
family and over all families of a comparison keeps the chance of any better or worse verdict between equal sides at 5 % or less.
Values without any spread, such as most peaks of memory, take no part: their ratio is 1 or it is not. A quantity that follows
another one, as utilization follows throughput, has no verdict and no p value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dnlbench.compare.differences import differences, other_problem
from dnlbench.compare.judging import OverallTest, cell_test, make_cell, make_overall, overall_test
from dnlbench.compare.model import Cell, Comparison, Match, Overall
from dnlbench.compare.points import PointPair, Points, matched_points, well
from dnlbench.compare.rounding import allow_other_execution
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.stats import RatioTest, count_families, holm_over_families
from dnlbench.studies import STUDIES, Point, Quantity


@dataclass(frozen=True, kw_only=True)
class _Tested:
    """A quantity with its tests, before p values are adjusted."""

    quantity: Quantity
    networks: Mapping[str, Sequence[PointPair]]
    cells: Sequence[RatioTest]
    """In the order of the networks and their depths."""
    figures: Sequence[OverallTest]
    """One for each network."""

    @property
    def families(self) -> list[list[float | None]]:
        if self.quantity.follows:
            return [[None for _ in self.cells], [None for _ in self.figures]]
        return [[test.chance_p for test in self.cells], [figure.test.chance_p for figure in self.figures]]


def compare(
    reference: Profile, candidate: Profile, *, match: Match = "network", networks: tuple[str, str] | None = None
) -> Comparison:
    """Compare a candidate with a reference.

    By default the points of equal network and depth; with ``match="depth"``, one network of each at equal depth: those in
    ``networks``, the reference's first, which are not needed where each profile has one.

    Raises:
        NotComparableError: if the studies or the data differ, or no points match.
    """
    _refuse(reference, candidate)
    ours, theirs = matched_points(reference, candidate, match, networks)
    points = _common_points(reference, candidate, ours, theirs)
    missing = {point: runs for point, runs in ours.items() if point not in theirs}
    main, *others = (quantity for quantity in STUDIES[reference.study].quantities if quantity.compared)
    tested = [
        _tested(quantity, [sides for sides in points if quantity == main or sides.has(quantity)])
        for quantity in (main, *others)
    ]
    families = [family for each in tested for family in each.families]
    adjusted = holm_over_families(families)
    found: list[Cell] = []
    figures: list[Overall] = []
    for place, each in enumerate(tested):
        found += _cells(each, adjusted[2 * place], main=each.quantity == main)
        figures += _overall(each, adjusted[2 * place + 1], main=each.quantity == main)
    comparison = Comparison(
        study=reference.study,
        reference=_title(reference),
        candidate=_title(candidate),
        interleaved=points[0].interleaved,
        differences=tuple(differences(reference, candidate)),
        cells=_in_order(found, points, [main, *others]),
        overall=tuple(_with_missing(figure, missing) for figure in figures),
        new_failures=tuple(run for sides in points for run in sides.new_failures),
        unfinished=(
            *(run for sides in points for run in sides.unfinished),
            *((point.network, run.depth, run.seed) for point, runs in missing.items() for run in well(runs)),
        ),
        missing=tuple((point.network, point.depth) for point in missing),
        families=count_families(families),
        match=match,
    )
    return allow_other_execution(comparison, reference, candidate)


def _tested(quantity: Quantity, points: Sequence[PointPair]) -> _Tested:
    networks = _by_network(points)
    return _Tested(
        quantity=quantity,
        networks=networks,
        cells=[cell_test(quantity, sides) for depths in networks.values() for sides in depths],
        figures=[overall_test(quantity, depths) for depths in networks.values()],
    )


def _cells(tested: _Tested, adjusted: Sequence[float | None], *, main: bool) -> Iterator[Cell]:
    sides = [each for depths in tested.networks.values() for each in depths]
    for each, test, p in zip(sides, tested.cells, adjusted, strict=True):
        yield make_cell(tested.quantity, each, test, _or_certain(p, test, tested.quantity), main=main)


def _overall(tested: _Tested, adjusted: Sequence[float | None], *, main: bool) -> Iterator[Overall]:
    for depths, figure, p in zip(tested.networks.values(), tested.figures, adjusted, strict=True):
        p_adjusted = _or_certain(p, figure.test, tested.quantity)
        yield make_overall(tested.quantity, depths, figure, p_adjusted, main=main)


def _or_certain(p_adjusted: float | None, test: RatioTest, quantity: Quantity) -> float | None:
    """A p value of 0 or 1, where chance plays no part, needs no adjustment."""
    return test.p if p_adjusted is None and not quantity.follows else p_adjusted


def _refuse(reference: Profile, candidate: Profile) -> None:
    if reference.study != candidate.study:
        raise NotComparableError(f"studies differ: {reference.study} and {candidate.study}")
    if split := reference.data.differing_split(candidate.data):
        raise NotComparableError(
            f"they are of different data: {_data(reference)} and {_data(candidate)}, with different {split} splits; results on "
            "different data say nothing about each other"
        )
    if problem := other_problem(reference, candidate):
        raise NotComparableError(f"they pose different problems: {problem}")


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


def _with_missing(figure: Overall, missing: Points) -> Overall:
    depths = [str(point.depth) for point in missing if point.network == figure.network]
    if not depths:
        return figure
    told = f"leaves out L={', '.join(depths)}: not in the candidate"
    return replace(figure, left_out="; ".join(filter(None, (figure.left_out, told))))


def _by_network(points: Iterable[PointPair]) -> dict[str, list[PointPair]]:
    networks: dict[str, list[PointPair]] = {}
    for sides in points:
        networks.setdefault(sides.point.network, []).append(sides)
    return networks


def _in_order(found: Iterable[Cell], points: Iterable[PointPair], quantities: list[Quantity]) -> tuple[Cell, ...]:
    """By quantity, then as the reference has its points, which need not go network by network."""
    places = {sides.point: place for place, sides in enumerate(points)}
    ranks = {quantity.name: rank for rank, quantity in enumerate(quantities)}
    return tuple(sorted(found, key=lambda c: (ranks[c.quantity.name], places[Point(network=c.network, depth=c.depth)])))


def _title(profile: Profile) -> str:
    return f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _data(profile: Profile) -> str:
    return f"{profile.data.name} ({profile.data.samples} samples, {profile.data.sha256[:12]})"
