"""A figure as a drawing for papers and slides, on white."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import quoteattr

from dnlbench.escape import xml
from dnlbench.tui.plot.curves import Curve, curves
from dnlbench.tui.plot.draw import ALL_OFF, NOT_POSITIVE, axis_text
from dnlbench.tui.plot.figure import Figure, Series
from dnlbench.tui.plot.framing import Framed, framed_curves
from dnlbench.tui.plot.ink import blend
from dnlbench.tui.plot.path import CROSS, FAR, Point, crosses, heights, on_the_way, stretches
from dnlbench.tui.plot.scale import Frame, Scale
from dnlbench.tui.plot.ticks import Tick, ticks
from dnlbench.tui.plot.view import View

FONT = 13
"""Height of text."""
_CHARACTER = 0.62 * FONT
"""Width of a character, at most, in most fonts."""
_INK = "#222222"
_GRID = "#dddddd"
_NAMED = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
"""In place of the terminal's own colours, which a drawing does not have."""
MARK_EVERY = 180
"""Distance between the marks of a curve."""


@dataclass(frozen=True, kw_only=True)
class _Area:
    """Where the curves are."""

    left: float
    top: float
    width: float
    height: float


def to_svg(figure: Figure, view: View, width: int = 900, height: int = 520) -> str:
    """The figure as it is viewed, as SVG."""
    width, height = max(200, width), max(140, height)
    drawn = curves(figure, view)
    found = framed_curves(figure, view, drawn)
    named = _in_legend(drawn)
    side = min(0.4 * width, 40 + _CHARACTER * max(len(_name(curve.series)) for curve in named)) if named else 16.0
    below = 52 + 1.4 * FONT * len(figure.note.splitlines())
    area = _Area(left=76, top=38, width=max(40, width - 76 - side), height=max(40, height - 38 - below))
    said = _said(figure, found)
    body = (
        [_text(area.left + area.width / 2, area.top + area.height / 2, said, anchor="middle")]
        if said
        else [
            *_axes(figure, found, area),
            *(part for curve in drawn for part in _band(curve, found.frame, area)),
            *(part for curve in drawn for part in _curve(curve, found.frame, area)),
            *_legend(named, area),
        ]
    )
    return "\n".join([*_head(figure, view, width, height, area), *body, *_notes(figure, area, height), "</svg>", ""])


def on_white(series: Series, place: int) -> str:
    """A colour that can be read on white: light ones are darkened, and those of a terminal replaced."""
    if not series.colour:
        return _INK
    colour = blend(series.colour, series.colour, 1.0) or _NAMED[place % len(_NAMED)]
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return blend(colour, "#000000", 0.75) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.7 else colour


def _said(figure: Figure, found: Framed) -> str:
    if found.empty:
        return ALL_OFF if any(len(series.x) for series in figure.series) else figure.empty
    return NOT_POSITIVE if found.nothing_placed else ""


def _head(figure: Figure, view: View, width: int, height: int, area: _Area) -> list[str]:
    smoothing = f" (smoothed {view.smoothing:g})" if view.smoothing else ""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="{FONT}" fill="{_INK}">',
        f"<title>{xml(figure.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<clipPath id="area"><rect x="{area.left:g}" y="{area.top:g}" width="{area.width:g}" height="{area.height:g}"/>'
        "</clipPath>",
        f'<text x="{area.left:g}" y="22" font-size="{FONT + 3}" font-weight="bold">{xml(figure.title)}'
        f'<tspan font-weight="normal" font-size="{FONT}">{xml(smoothing)}</tspan></text>',
    ]


def _notes(figure: Figure, area: _Area, height: int) -> list[str]:
    lines = figure.note.splitlines()
    return [_text(area.left, height - 8 - 1.4 * FONT * (len(lines) - 1 - k), line) for k, line in enumerate(lines)]


def _axes(figure: Figure, found: Framed, area: _Area) -> list[str]:
    frame, bottom, right = found.frame, area.top + area.height, area.left + area.width
    across = _ticks(frame.x, area.width, figure.x.base, found.integers, _CHARACTER)
    up = _ticks(frame.y, area.height, figure.y.base, False, None)
    parts = []
    for tick in across:
        x = area.left + frame.x.fraction(tick.value) * area.width
        parts.append(_line((x, area.top), (x, bottom), _GRID))
        parts.append(_line((x, bottom), (x, bottom + 5), _INK))
        parts.append(_text(x, bottom + 6 + FONT, tick.label, anchor="middle"))
    for tick in up:
        y = bottom - frame.y.fraction(tick.value) * area.height
        parts.append(_line((area.left, y), (right, y), _GRID))
        parts.append(_line((area.left - 5, y), (area.left, y), _INK))
        parts.append(_text(area.left - 8, y + 0.35 * FONT, tick.label, anchor="end"))
    parts.append(_line((area.left, bottom), (right, bottom), _INK))
    parts.append(_line((area.left, area.top), (area.left, bottom), _INK))
    x_name, y_name = axis_text(figure.x, log=frame.x.log), axis_text(figure.y, log=frame.y.log)
    parts.append(_text(area.left + area.width / 2, bottom + 12 + 2 * FONT, x_name, anchor="middle"))
    middle = area.top + area.height / 2
    parts.append(_text(16, middle, y_name, anchor="middle", more=f' transform="rotate(-90 16 {middle:g})"'))
    return parts


def _ticks(scale: Scale, length: float, base: int, integers: bool, character: float | None) -> tuple[Tick, ...]:
    """With labels that are apart: beside each other if a character's width is given, else above each other."""

    def fits(found: Sequence[Tick]) -> bool:
        for a, b in pairwise(found):
            distance = (scale.fraction(b.value) - scale.fraction(a.value)) * length
            needed = 2.2 * FONT if character is None else character * (len(a.label) + len(b.label)) / 2 + 24
            if distance < needed:
                return False
        return True

    return ticks(scale, max(1, int(length / 20)), fits, base=base, integers=integers)


def _band(curve: Curve, frame: Frame, area: _Area) -> list[str]:
    if not curve.low:
        return []
    xs = _across(curve.x, frame, area)
    tops, lows = _edge(curve.high, frame, area), _edge(curve.low, frame, area)
    both = [math.isfinite(top) and math.isfinite(low) for top, low in zip(tops, lows, strict=True)]
    upper = stretches(xs, [y if there else math.nan for y, there in zip(tops, both, strict=True)])
    lower = stretches(xs, [y if there else math.nan for y, there in zip(lows, both, strict=True)])
    style = f'fill="{on_white(curve.series, curve.place)}" fill-opacity="0.18" clip-path="url(#area)"'
    return [
        f'<polygon points="{_points([*top, *reversed(low)])}" {style}/>' for top, low in zip(upper, lower, strict=True)
    ]


def _curve(curve: Curve, frame: Frame, area: _Area) -> list[str]:
    series, colour = curve.series, on_white(curve.series, curve.place)
    xs = _across(curve.x, frame, area)
    ys = [area.top + y for y in heights(frame.y.fractions(curve.y[: len(xs)]), area.height)]
    lines = stretches(xs, ys)
    opacity = ' stroke-opacity="0.35"' if curve.faint else ""
    dash = ' stroke-dasharray="6 4"' if series.dashed else ""
    style = f'fill="none" stroke="{colour}" stroke-width="{2.2 if curve.bold else 1.5}" stroke-linejoin="round"'
    parts = [f'<polyline points="{_points(line)}" {style}{opacity}{dash} clip-path="url(#area)"/>' for line in lines]
    inside = [(x - area.left, y - area.top) for line in lines for x, y in line]
    ends = [(x, y) for x, y in inside if -1 <= x <= area.width + 1 and -1 <= y <= area.height + 1]
    found: list[Point] = []
    if curve.marked and series.mark:
        if series.points:
            found = ends
        elif not series.dashed:
            moved = [[(x - area.left, y - area.top) for x, y in line] for line in lines]
            found = on_the_way(moved, area.width, area.height, int(area.width / MARK_EVERY), curve.place)
    parts += [_mark(area, point, series.mark, colour) for point in found]
    if curve.marked or series.faint:
        parts += [_mark(area, point, CROSS, colour, bold=True) for point in _crosses(curve, xs, ys, inside, area)]
    return parts


def _crosses(
    curve: Curve, xs: Sequence[float], ys: Sequence[float], inside: Sequence[Point], area: _Area
) -> Iterable[Point]:
    across, down = [x - area.left for x in xs], [y - area.top for y in ys]
    found = crosses(curve.y[: len(xs)], across, down, area.height)
    if curve.series.diverged and inside and math.isfinite(curve.y[-1]):
        found.append(inside[-1])
    return [(x, min(max(y, 0.0), area.height)) for x, y in found if 0 <= x <= area.width]


def _across(x: Sequence[float], frame: Frame, area: _Area) -> list[float]:
    return [area.left + max(-FAR, min(FAR, f)) * area.width if f == f else f for f in frame.x.fractions(x)]


def _edge(values: Sequence[float], frame: Frame, area: _Area) -> list[float]:
    """Of a band: where a logarithmic axis has no place for it, it is below the area."""
    dots = heights([max(-FAR, min(FAR, f)) if f == f else f for f in frame.y.fractions(values)], area.height)
    under = area.height * 2
    return [area.top + (under if y != y and v == v else y) for y, v in zip(dots, values, strict=False)]


def _in_legend(drawn: Sequence[Curve]) -> list[Curve]:
    """In the figure's order."""
    return sorted((curve for curve in drawn if curve.marked), key=lambda curve: curve.place)


def _name(series: Series) -> str:
    return f"{series.label}  n={series.n}" if series.n is not None else series.label


def _legend(named: Sequence[Curve], area: _Area) -> list[str]:
    parts = []
    left, step = area.left + area.width + 12, 1.5 * FONT
    room = max(1, int(area.height / step))
    for place, curve in enumerate(named[:room]):
        series, y = curve.series, area.top + FONT + place * step
        colour = on_white(series, curve.place)
        dash = ' stroke-dasharray="6 4"' if series.dashed else ""
        parts.append(_line((left, y), (left + 18, y), colour, more=f' stroke-width="2"{dash}'))
        parts.append(_mark(_Area(left=left, top=y, width=0, height=0), (9, 0), series.mark, colour))
        parts.append(_text(left + 24, y + 0.35 * FONT, _name(series)))
    if len(named) > room:
        parts.append(_text(left + 24, area.top + FONT * 1.35 + room * step, f"+{len(named) - room} more"))
    return parts


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(start: Point, end: Point, colour: str, *, more: str = "") -> str:
    (x0, y0), (x1, y1) = start, end
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke={quoteattr(colour)}{more}/>'


def _mark(area: _Area, point: Point, char: str, colour: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    x, y = area.left + point[0], area.top + point[1] + 0.35 * FONT
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill={quoteattr(colour)}{weight}>{xml(char)}</text>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{xml(text)}</text>'
