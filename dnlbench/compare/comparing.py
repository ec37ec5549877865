"""Profile against profile.

Runs of equal seed start from equal weights and see the data in equal order, so losses are paired by seed: over the seeds that
both sides have, or not at all where those are too few to show a spread. Throughput and memory say something about the machine
too: they are compared at the points where all runs of both sides were on one and the same model of machine and device, with
equal threads, runs side by side and pack sizes, and paired only where the runs of both sides took turns. A pack is one sample
of them. Where the runs did not take turns, throughputs have a ratio but no interval and no verdict: then each side is one
sample, of the machine at its time. All intervals are at 95 %, on log-ratios.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dnlbench.compare.cells import cells
from dnlbench.compare.differences import differences, other_problem
from dnlbench.compare.model import Cell, Comparison, Overall
from dnlbench.compare.overall import overall
from dnlbench.compare.sides import Points, Sides, by_point, well
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.studies import STUDIES, Point, Quantity


def compare(reference: Profile, candidate: Profile) -> Comparison:
    """Holds a candidate against a reference.

    Raises:
        NotComparableError: if they are of different studies, of other data, or have no network and depth in common.
    """
    _refuse(reference, candidate)
    points = _common_points(reference, candidate)
    missing = {point: runs for point, runs in by_point(reference).items() if point not in by_point(candidate)}
    main, *others = (quantity for quantity in STUDIES[reference.study].quantities if quantity.compared)
    found: list[Cell] = []
    figures: list[Overall] = []
    for quantity in [main, *others]:
        # what no run has is not asked for; but the main result is
        networks = _by_network([sides for sides in points if quantity == main or sides.has(quantity)])
        for depths in networks.values():
            found += cells(quantity, depths, main=quantity == main)
        figures += [_with_missing(figure, missing) for figure in overall(quantity, networks, main=quantity == main)]
    return Comparison(
        study=reference.study,
        reference=_title(reference),
        candidate=_title(candidate),
        interleaved=points[0].interleaved,
        differences=tuple(differences(reference, candidate)),
        cells=_in_order(found, points, [main, *others]),
        overall=tuple(figures),
        new_failures=tuple(run for sides in points for run in sides.new_failures),
        unfinished=(
            *(run for sides in points for run in sides.unfinished),
            *((run.network, run.depth, run.seed) for runs in missing.values() for run in well(runs)),
        ),
        missing=tuple((point.network, point.depth) for point in missing),
    )


def _refuse(reference: Profile, candidate: Profile) -> None:
    """What says nothing about each other is not compared."""
    if reference.study != candidate.study:
        raise NotComparableError(f"studies differ: {reference.study} and {candidate.study}")
    if split := reference.data.differing_split(candidate.data):
        raise NotComparableError(
            f"they are of different data: {_data(reference)} and {_data(candidate)}, with different {split} splits; results on "
            "different data say nothing about each other"
        )
    if problem := other_problem(reference, candidate):
        raise NotComparableError(f"they pose different problems: {problem}")


def _common_points(reference: Profile, candidate: Profile) -> list[Sides]:
    ours, theirs = by_point(reference), by_point(candidate)
    common = [point for point in ours if point in theirs]
    if not common:
        raise NotComparableError(f"no network and depth in common: {_named(ours)} and {_named(theirs)}")
    session = reference.interleaved if reference.interleaved == candidate.interleaved else None
    return [
        Sides(
            point=point,
            reference=ours[point],
            candidate=theirs[point],
            machines=(reference.machine, candidate.machine),
            interleaved=session or None,
        )
        for point in common
    ]


def _with_missing(figure: Overall, missing: Points) -> Overall:
    """Names the depths that the candidate has not."""
    depths = [str(point.depth) for point in missing if point.network == figure.network]
    if not depths:
        return figure
    told = f"leaves out L={', '.join(depths)}: not in the candidate"
    return replace(figure, left_out="; ".join(filter(None, (figure.left_out, told))))


def _by_network(points: Iterable[Sides]) -> dict[str, list[Sides]]:
    networks: dict[str, list[Sides]] = {}
    for sides in points:
        networks.setdefault(sides.point.network, []).append(sides)
    return networks


def _in_order(found: Iterable[Cell], points: Iterable[Sides], quantities: list[Quantity]) -> tuple[Cell, ...]:
    """By quantity, then as the reference has its points, which need not go network by network."""
    places = {sides.point: place for place, sides in enumerate(points)}
    ranks = {quantity.name: rank for rank, quantity in enumerate(quantities)}
    return tuple(sorted(found, key=lambda c: (ranks[c.quantity.name], places[Point(network=c.network, depth=c.depth)])))


def _named(points: Iterable[Point]) -> str:
    return ", ".join(f"{point.network} L={point.depth}" for point in points)


def _title(profile: Profile) -> str:
    return f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _data(profile: Profile) -> str:
    return f"{profile.data.name} ({profile.data.samples} samples, {profile.data.sha256[:12]})"
