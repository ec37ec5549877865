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
from dnlbench.stats.student import t_quantile

JUMP = 0.02
"""A change of seeds may move the mean by this share of its range and of its value: about a dot of a usual chart."""


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
    reaches = {index: bisect_right(grid, max(each)) for index, each in enumerate(points) if each}
    members, spans = _chosen(points, grid, reaches)
    rows = [interval([points[m][x] for m in there if x in points[m]]) for there, xs in spans for x in xs]
    chosen = {index: curves[index] for index in members}
    band = _band(grid[: len(rows)], rows, chosen)
    return replace(band, left_out=tuple(index for index in reaches if index not in members))


def _band(
    x: Sequence[float],
    rows: Sequence[tuple[float, float, float, int]],
    curves: Mapping[int, _Curve] | Sequence[_Curve],
) -> Band:
    """From the mean, both ends and n at each x, of curves by their places."""
    mean, low, high, n = zip(*rows, strict=True) if rows else ((), (), (), ())
    by_index = curves.items() if isinstance(curves, Mapping) else enumerate(curves)
    diverged = tuple(index for index, (_, y) in by_index if not all(map(math.isfinite, y)))
    return Band(x=tuple(x), mean=mean, low=low, high=high, n=n, diverged=diverged, left_out=())


_Points = Sequence[dict[float, float]]
_Spans = list[tuple[list[int], list[float]]]


def _chosen(points: _Points, grid: list[float], reaches: dict[int, int]) -> tuple[list[int], _Spans]:
    """The seeds in the mean, and stretches of x with those that are there."""
    if not reaches:
        return [], []
    block = _block(sorted(reaches.values(), reverse=True))
    members = {index for index, reach in reaches.items() if reach >= block}
    for reach in sorted({r for r in reaches.values() if r < block}, reverse=True):
        joining = {index for index, other in reaches.items() if other == reach}
        if _is_smooth(points, grid[:reach], members | joining, members):
            members |= joining
    ends = [0]
    for reach in sorted({reaches[index] for index in members}):
        staying = {index for index in members if reaches[index] > reach}
        ends.append(reach)
        present = {index for index in members if reaches[index] >= reach}
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


def _mean(points: _Points, indices: set[int], x: float) -> float:
    return _interval([points[index][x] for index in indices if x in points[index]])[0]


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
