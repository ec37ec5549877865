"""The mean over seeds and its 95 % band, while the seeds are under way and have come differently far.

A mean that loses a seed moves to where the others are, which looks as if training had changed. So the mean is over the
seeds and up to the x that hold the most points without a gap (of seeds ordered by how far they have come, the j-th at
``r_j``: the j with the largest ``j · r_j``). Beyond that, it goes on with fewer seeds, and takes in those that have not
come that far, only where the change of seeds moves it by less than `JUMP`. Seeds that are not in it are named.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from dnlbench.stats.intervals import Range, bounds_within, range_of

JUMP = 0.02
"""A change of seeds may move the mean by this share of its range and of its value: about a dot of a usual chart."""
# Student's t at 97.5 % with 1 to 29 degrees of freedom; a test compares it with SciPy, whose import would be felt here.
# fmt: off
_T = (
    12.7062047362, 4.3026527297, 3.1824463053, 2.7764451052, 2.5705818356, 2.4469118511, 2.3646242516, 2.3060041352,
    2.2621571628, 2.2281388520, 2.2009851601, 2.1788128297, 2.1603686565, 2.1447866879, 2.1314495456, 2.1199052992,
    2.1098155778, 2.1009220402, 2.0930240544, 2.0859634473, 2.0796138447, 2.0738730679, 2.0686576104, 2.0638985616,
    2.0595385528, 2.0555294386, 2.0518305165, 2.0484071418, 2.0452296421,
)
# fmt: on
_Z = 1.9599639845400545


@dataclass(frozen=True, kw_only=True)
class Band:
    """A mean over seeds with its interval at each x. All sequences but the last two have one length."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    """NaN where no seed has a finite value."""
    low: tuple[float, ...]
    """NaN, as ``high``, where fewer than two seeds have a finite value."""
    high: tuple[float, ...]
    n: tuple[int, ...]
    """Seeds with a finite value."""
    diverged: tuple[int, ...]
    """Places of the curves with a value that is not finite; the mean there is that of the others."""
    left_out: tuple[int, ...]
    """Places of the curves that have not come far enough to be in the mean."""


def t_quantile(freedom: int) -> float:
    """What a Student t variable stays within, either way, with probability 95 %.

    From 30 degrees of freedom ν on by its expansion, which is right to 1e-6 there::

        t = z + (z³ + z) / 4ν + (5z⁵ + 16z³ + 3z) / 96ν² + (3z⁷ + 19z⁵ + 17z³ - 15z) / 384ν³
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


_Curve = tuple[Sequence[float], Sequence[float]]


def mean_band(curves: Sequence[_Curve], range_: Range = "any") -> Band:
    """The mean of curves, each its x and its y, with x on a common grid of which each may have less.

    The band lies in the range, as `dnlbench.stats.mean_interval` does.
    """
    interval = partial(_interval, range_=range_)
    if curves and len(curves[0][0]) and all(x == curves[0][0] for x, _ in curves):
        return _band(curves[0][0], [interval(values) for values in zip(*(y for _, y in curves), strict=True)], curves)
    points = [dict(zip(x, y, strict=True)) for x, y in curves]
    grid = sorted({x for each in points for x in each})
    reaches = {place: bisect_right(grid, max(each)) for place, each in enumerate(points) if each}
    members, spans = _chosen(points, grid, reaches)
    rows = [interval([points[m][x] for m in there if x in points[m]]) for there, xs in spans for x in xs]
    chosen = {place: curves[place] for place in members}
    band = _band(grid[: len(rows)], rows, chosen)
    return replace(band, left_out=tuple(place for place in reaches if place not in members))


def _band(
    x: Sequence[float],
    rows: Sequence[tuple[float, float, float, int]],
    curves: Mapping[int, _Curve] | Sequence[_Curve],
) -> Band:
    """From the mean, both ends and n at each x, of curves by their places."""
    mean, low, high, n = zip(*rows, strict=True) if rows else ((), (), (), ())
    by_place = curves.items() if isinstance(curves, Mapping) else enumerate(curves)
    diverged = tuple(place for place, (_, y) in by_place if not all(map(math.isfinite, y)))
    return Band(x=tuple(x), mean=mean, low=low, high=high, n=n, diverged=diverged, left_out=())


_Points = Sequence[dict[float, float]]
_Spans = list[tuple[list[int], list[float]]]


def _chosen(points: _Points, grid: list[float], reaches: dict[int, int]) -> tuple[list[int], _Spans]:
    """The seeds in the mean, and stretches of x with those that are there."""
    if not reaches:
        return [], []
    block = _block(sorted(reaches.values(), reverse=True))
    members = {place for place, reach in reaches.items() if reach >= block}
    for reach in sorted({r for r in reaches.values() if r < block}, reverse=True):
        joining = {place for place, own in reaches.items() if own == reach}
        if _is_smooth(points, grid[:reach], members | joining, members):
            members |= joining
    ends = [0]
    for reach in sorted({reaches[place] for place in members}):
        staying = {place for place in members if reaches[place] > reach}
        ends.append(reach)
        present = {place for place in members if reaches[place] >= reach}
        if reach >= block and not (staying and _is_smooth(points, grid[:reach], present, staying)):
            break
    spans = [([m for m in sorted(members) if reaches[m] >= end], grid[start:end]) for start, end in pairwise(ends)]
    return sorted(members), spans


def _block(reaches: list[int]) -> int:
    """Up to where the most points are without a gap. Of two such, the one with more seeds."""
    return max(enumerate(reaches, 1), key=lambda item: (item[0] * item[1], item[0]))[1]


def _is_smooth(points: _Points, xs: list[float], before: set[int], after: set[int]) -> bool:
    """Whether the mean hardly moves if after the last x only some of the seeds go on."""
    some = xs[:: 1 + len(xs) // 32]  # enough for its range
    means = [mean for x in some if math.isfinite(mean := _mean(points, before, x))]
    old, new = _mean(points, before, xs[-1]), _mean(points, after, xs[-1])
    if not (means and math.isfinite(old) and math.isfinite(new)):
        return False
    return abs(new - old) <= JUMP * min(max(means) - min(means), abs(old))


def _mean(points: _Points, places: set[int], x: float) -> float:
    return _interval([points[place][x] for place in places if x in points[place]])[0]


def _interval(values: Sequence[float], range_: Range = "any") -> tuple[float, float, float, int]:
    """The mean, both ends of its interval and n of the finite values."""
    finite = [value for value in values if math.isfinite(value)]
    n = len(finite)
    if n == 0:
        return math.nan, math.nan, math.nan, 0
    mean = sum(finite) / n
    if n == 1 or not math.isfinite(mean):
        return mean, math.nan, math.nan, n
    half = t_quantile(n - 1) * math.sqrt(sum((value - mean) * (value - mean) for value in finite) / (n - 1) / n)
    low, high = bounds_within(range_of(finite, range_), mean, half) or (math.nan, math.nan)
    return mean, low, high, n
