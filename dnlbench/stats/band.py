"""The mean over seeds and its 95 % band, while seeds have reached different points of x.

A mean that loses a seed jumps to the mean of the others, which looks like a change of training. The mean is therefore over the
seeds, and up to the x, that contain the most points without a gap: for seeds sorted by their reach ``r_j``, the j with the
largest ``j · r_j``. Beyond that x it continues with fewer seeds, and it includes seeds with a smaller reach, only if the change
of seeds moves it by less than `JUMP`. Seeds that are left out are named.
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
"""A change of seeds may move the mean by this fraction of its range and of its value: about a dot of a usual chart."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A mean over seeds with its interval at each x. All sequences except the last two have the same length."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    """The mean; NaN where no seed has a finite value."""
    low: tuple[float, ...]
    """Lower bound; NaN, as ``high``, where fewer than two seeds have a finite value."""
    high: tuple[float, ...]
    n: tuple[int, ...]
    """Number of seeds with a finite value."""
    diverged: tuple[int, ...]
    """Indices of the curves with a non-finite value; the mean there is that of the others."""
    left_out: tuple[int, ...]
    """Indices of the curves that are too short to be in the mean."""


_Curve = tuple[Sequence[float], Sequence[float]]


def mean_band(curves: Sequence[_Curve], range_: Range = "any") -> Band:
    """Compute the mean of curves ``(x, y)`` on a common grid, of which a curve may cover only the start.

    The band lies within the range, see `dnlbench.stats.mean_interval`.
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
    """Build a band from mean, bounds and n at each x; ``curves`` are by index."""
    mean, low, high, n = zip(*rows, strict=True) if rows else ((), (), (), ())
    by_index = curves.items() if isinstance(curves, Mapping) else enumerate(curves)
    diverged = tuple(index for index, (_, y) in by_index if not all(map(math.isfinite, y)))
    return Band(x=tuple(x), mean=mean, low=low, high=high, n=n, diverged=diverged, left_out=())


_Points = Sequence[dict[float, float]]
_Spans = list[tuple[list[int], list[float]]]


def _chosen(points: _Points, grid: list[float], reaches: dict[int, int]) -> tuple[list[int], _Spans]:
    """Return the seeds in the mean, and the intervals of x with the seeds that cover them."""
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
    """Return the reach that contains the most points without a gap; in a tie the one with more seeds."""
    return max(enumerate(reaches, 1), key=lambda item: (item[0] * item[1], item[0]))[1]


def _is_smooth(points: _Points, xs: list[float], before: set[int], after: set[int]) -> bool:
    """Return True if the mean hardly moves when only some of the seeds continue after the last x."""
    some = xs[:: 1 + len(xs) // 32]  # enough for its range
    means = [mean for x in some if math.isfinite(mean := _mean(points, before, x))]
    old, new = _mean(points, before, xs[-1]), _mean(points, after, xs[-1])
    if not (means and math.isfinite(old) and math.isfinite(new)):
        return False
    return abs(new - old) <= JUMP * min(max(means) - min(means), abs(old))


def _mean(points: _Points, indices: set[int], x: float) -> float:
    return _interval([points[index][x] for index in indices if x in points[index]])[0]


def _interval(values: Sequence[float], range_: Range = "any") -> tuple[float, float, float, int]:
    """Return mean, lower and upper bound, and the number of the finite values."""
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
