"""Which points of two profiles are compared: those of equal network and depth, or two networks at equal depth."""

from __future__ import annotations

from collections.abc import Iterable

from dnlbench.compare.model import Match
from dnlbench.compare.sides import Points, by_point
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.studies import Point

SIDES = ("reference", "candidate")


def matched_points(
    reference: Profile, candidate: Profile, match: Match, networks: tuple[str, str] | None
) -> tuple[Points, Points]:
    """The points of both sides, so that equal ones are compared.

    With ``match="depth"`` these are the points of one network each, under the common name ``candidate / reference``.

    Args:
        reference: one side.
        candidate: the other side.
        match: what compared points have in common.
        networks: of the reference and of the candidate, for ``match="depth"``; None where each profile has one network.

    Raises:
        NotComparableError: if it is not clear which networks are meant, or no point is common.
    """
    ours, theirs = by_point(reference), by_point(candidate)
    if match == "depth":
        chosen = [_chosen(points, side, networks) for side, points in enumerate((ours, theirs))]
        name = chosen[0] if chosen[0] == chosen[1] else f"{chosen[1]} / {chosen[0]}"
        ours, theirs = _renamed(ours, chosen[0], name), _renamed(theirs, chosen[1], name)
    if not any(point in theirs for point in ours):
        raise NotComparableError(_nothing_in_common(ours, theirs, match))
    return ours, theirs


def _chosen(points: Points, side: int, networks: tuple[str, str] | None) -> str:
    """The network of one side."""
    known = list(dict.fromkeys(point.network for point in points))
    if networks is not None and networks[side] not in known:
        raise NotComparableError(f"the {SIDES[side]} has no network {networks[side]!r}: it has {', '.join(known)}")
    if networks is None and len(known) > 1:
        raise NotComparableError(
            f"--match depth compares one network of each profile, and the {SIDES[side]} has {', '.join(known)}; "
            f"name that of the reference and that of the candidate, such as --networks {known[0]},{known[1]}"
        )
    return known[0] if networks is None else networks[side]


def _renamed(points: Points, network: str, name: str) -> Points:
    """The points of one network under another name."""
    return {Point(network=name, depth=point.depth): runs for point, runs in points.items() if point.network == network}


def _nothing_in_common(ours: Points, theirs: Points, match: Match) -> str:
    if match == "depth":
        depths = (", ".join(str(point.depth) for point in points) for points in (ours, theirs))
        return f"no depth in common: L={' and L='.join(depths)}"
    depth_in_common = {point.depth for point in ours} & {point.depth for point in theirs}
    hint = "; dnlbench compare --match depth compares two networks at equal depth" if depth_in_common else ""
    return f"no network and depth in common: {_named(ours)} and {_named(theirs)}{hint}"


def _named(points: Iterable[Point]) -> str:
    return ", ".join(f"{point.network} L={point.depth}" for point in points)
