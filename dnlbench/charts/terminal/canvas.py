"""Draw curves on a raster: bands, then lines, then markers."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.charts.terminal.curves import Curve, decimated, is_dashed, mark_of
from dnlbench.charts.terminal.raster import CROSS, FAR, WIDE, Point, Raster, crosses, heights, mark_positions, segments
from dnlbench.charts.terminal.scale import LARGEST, Frame
from dnlbench.charts.terminal.text import TextStyle, Theme

MARK_EVERY = 30
"""Columns between the markers of a curve."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A raster with the styles of its pens and shades."""

    raster: Raster
    styles: tuple[TextStyle, ...]
    shades: tuple[str, ...]

    def style(self, cell: int) -> TextStyle:
        pen, shade = self.raster.pens[cell], self.raster.shades[cell]
        style = self.styles[pen] if pen >= 0 else TextStyle()
        return style._replace(background=self.shades[shade]) if shade >= 0 else style


def draw_curves(curves: Sequence[Curve], frame: Frame, columns: int, rows: int, theme: Theme) -> Canvas:
    """Draw curves from back to front."""
    raster = Raster(columns, rows)
    shades = tuple(theme.shade(curve.series) for curve in curves)
    shown = [_Shown.of(curve, frame, raster) for curve in curves]
    for pen, each in enumerate(shown):
        _band(each, frame, raster, pen, shaded=bool(shades[pen]))
    for pen, each in enumerate(shown):
        dashed = is_dashed(each.curve.series)
        for points in each.segments if each.curve.series.joined else ():
            raster.line(points, pen, dashed=dashed)
    for pen, each in enumerate(shown):
        _marks(each, raster, pen)
    return Canvas(raster=raster, styles=tuple(_text_style(curve, theme) for curve in curves), shades=shades)


def _text_style(curve: Curve, theme: Theme) -> TextStyle:
    return theme.faint(curve.series) if curve.faint else TextStyle(color=theme.color(curve.series), bold=curve.bold)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """The part of a curve within the x axis, in dots."""

    curve: Curve
    xs: list[float]
    ys: list[float]
    """Infinities and NaN as in the curve; also NaN for values that a logarithmic axis cannot show."""
    start: int
    """Index of the first point in the curve."""
    segments: list[list[Point]]

    @classmethod
    def of(cls, curve: Curve, frame: Frame, raster: Raster) -> _Shown:
        start = max(0, bisect_left(curve.x, frame.x.low) - 1)
        end = bisect_right(curve.x, frame.x.high) + 1
        xs = [fraction * raster.right for fraction in frame.x.fractions(curve.x[start:end])]
        ys = heights(frame.y.fractions(curve.y[start:end]), raster.bottom)
        if len(xs) > 2 * raster.right > 0:
            kept = decimated(xs, ys, raster.right)
            lines = segments([xs[k] for k in kept], [ys[k] for k in kept])
        else:
            lines = segments(xs, ys)
        return cls(curve=curve, xs=xs, ys=ys, start=start, segments=lines)


def _band(shown: _Shown, frame: Frame, raster: Raster, pen: int, *, shaded: bool) -> None:
    curve = shown.curve
    if not curve.low or not shown.xs:
        return
    columns = [column for column in range(raster.columns) if shown.xs[0] <= _middle(column) <= shown.xs[-1]]
    tops = _edge(_between(shown, curve.high, columns), frame, raster)
    lows = _edge(_between(shown, curve.low, columns), frame, raster)
    if shaded:
        for column, top, low in zip(columns, tops, lows, strict=True):
            if top == top and low == low:  # not NaN
                raster.shade(column, top, low, pen)
    else:
        middles = [_middle(column) for column in columns]
        for points in (*segments(middles, tops), *segments(middles, lows)):
            raster.line(points, pen, dotted=True)


def _middle(column: int) -> float:
    return WIDE * column + 0.5


def _between(shown: _Shown, values: Sequence[float], columns: Sequence[int]) -> list[float]:
    """Interpolate values at the centers of columns."""
    xs, start = shown.xs, shown.start
    result = []
    for column in columns:
        x = _middle(column)
        index = max(1, bisect_left(xs, x))
        if index >= len(xs):
            result.append(values[start + len(xs) - 1])
            continue
        x0, x1 = xs[index - 1], xs[index]
        weight = (x - x0) / (x1 - x0) if x1 > x0 else 1.0
        result.append((1 - weight) * values[start + index - 1] + weight * values[start + index])
    return result


def _edge(values: Sequence[float], frame: Frame, raster: Raster) -> list[float]:
    """Return the edge of a band in dots. It extends to the frame if infinite, or if a logarithmic axis cannot show it."""
    inside = [v if -LARGEST < v < LARGEST or v != v else math.copysign(LARGEST, v) for v in values]
    under = FAR * raster.bottom
    dots = heights(frame.y.fractions(inside), raster.bottom)
    return [under if y != y and v == v else y for y, v in zip(dots, inside, strict=True)]


def _marks(shown: _Shown, raster: Raster, pen: int) -> None:
    curve, series, mark = shown.curve, shown.curve.series, mark_of(shown.curve.series)
    if curve.marked and mark:
        points = [point for points in shown.segments for point in points]
        if not series.points:
            index, count = series.identity.index + series.identity.profile / 2, raster.columns // MARK_EVERY
            points = mark_positions(shown.segments, raster.right, raster.bottom, count, index)
        for point in points:
            raster.mark(point, mark, pen)
        names = curve.series.names[shown.start :] if len(points) == len(shown.xs) else ()
        for (x, y), name in zip(points, names, strict=False):
            for k, char in enumerate(name, start=1):
                raster.mark((x + WIDE * k, y), char, pen)
    if curve.marked or series.parent:
        for point in _crosses(shown, raster):
            raster.mark(point, CROSS, pen)


def _crosses(shown: _Shown, raster: Raster) -> list[Point]:
    """Return the positions of crosses: non-finite values, and the last finite point of a failed run."""
    curve, series, end = shown.curve, shown.curve.series, shown.start + len(shown.xs)
    positions = crosses(curve.y[shown.start : end], shown.xs, shown.ys, raster.bottom)
    at_end = series.failed and end >= len(curve.y) and shown.segments and math.isfinite(curve.y[-1])
    return [*positions, shown.segments[-1][-1]] if at_end else positions
