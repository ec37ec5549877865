"""Charts as SVG that needs no script: what is printed, and what is seen where scripts are off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.report.html.chart import CROSS, MARKS, Chart, Series
from dnlbench.report.html.markup import Markup, tag
from dnlbench.report.html.scale import Scale, label, scale_over, ticks

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 10, 46
"""Of the area where the curves are, from the edges."""
MARKS_A_CURVE = 5
"""Of a curve whose values have no marks of their own: enough to tell it by."""


def figure(chart: Chart, place: int, below: Markup) -> Markup:
    """The chart with its title, note, legend and what stands below; ``place`` is that of its data among the page's."""
    drawing = tag(
        "svg",
        *_drawing(chart),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=described(chart),
        class_="chart",
    )
    legend = tag("ul", *(tag("li", swatch(each), tag("span", each.name)) for each in chart.series), class_="legend")
    head = tag("figcaption", tag("h3", chart.title), tag("p", chart.note, class_="note"))
    return tag("figure", head, tag("div", drawing, class_="plot"), legend, below, data_chart=place)


def described(chart: Chart) -> str:
    """For those who do not see it."""
    main = [each for each in chart.series if not each.faint]
    ends = [f"{each.name}: {each.y[0]:.3g} to {each.y[-1]:.3g}" for each in main if each.y]
    return f"{chart.title}: {chart.y.label} against {chart.x.label}. " + "; ".join(ends)


def swatch(series: Series) -> Markup:
    """A bit of the curve with its mark, for the legend."""
    line = tag("path", d="M1,7H29", class_=_line_class(series))
    mark = tag("path", d=MARKS[series.mark % len(MARKS)], transform="translate(15 7)", class_=f"mark c{series.colour}")
    return tag("svg", line, *([] if series.faint else [mark]), viewBox="0 0 30 14", class_="swatch", aria_hidden="true")


def _drawing(chart: Chart) -> Iterator[Markup]:
    x = scale_over((v for each in chart.series for v in each.x), chart.x)
    bands = (v for each in chart.series for v in (*each.low, *each.high) if v is not None)
    y = scale_over((v for each in chart.series for v in each.y), chart.y, bands)
    yield from _axes(chart, x, y)
    for each in chart.series:
        yield from _band(each, x, y)
    for each in chart.series:
        yield from _curve(each, x, y)


def _axes(chart: Chart, x: Scale, y: Scale) -> Iterator[Markup]:
    bottom = HEIGHT - BOTTOM
    for value in ticks(x, chart.x, 9):
        at = _across(x, value)
        yield tag("path", d=f"M{at:.1f},{TOP}V{bottom}", class_="grid")
        yield _text(at, bottom + 18, label(value, whole=chart.x.whole), "middle")
    for value in ticks(y, chart.y, 7):
        at = _down(y, value)
        yield tag("path", d=f"M{LEFT},{at:.1f}H{WIDTH - RIGHT}", class_="grid")
        yield _text(LEFT - 7, at + 4, label(value), "end")
    yield tag("path", d=f"M{LEFT},{TOP}V{bottom}H{WIDTH - RIGHT}", class_="frame")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart.x.label, "middle")
    middle = (TOP + bottom) / 2
    yield _text(12, middle, chart.y.label, "middle", transform=f"rotate(-90 12 {middle:.0f})")


def _band(series: Series, x: Scale, y: Scale) -> Iterator[Markup]:
    known = [
        (at, low, high)
        for at, low, high in zip(series.x, series.low, series.high, strict=False)
        if low is not None and high is not None
    ]
    if series.points:
        yield from (
            tag(
                "path",
                d=f"M{_across(x, at):.1f},{_down(y, low):.1f}V{_down(y, high):.1f}",
                class_=f"line c{series.colour} bar",
            )
            for at, low, high in known
        )
    elif known:
        there = [(at, high) for at, _, high in known]
        back = [(at, low) for at, low, _ in reversed(known)]
        yield tag("path", d=f"{_path([*there, *back], x, y)}Z", class_=f"band c{series.colour}")


def _curve(series: Series, x: Scale, y: Scale) -> Iterator[Markup]:
    points = list(zip(series.x, series.y, strict=True))
    if y.log:
        points = [(at, value) for at, value in points if value > 0]
    if not points:
        return
    yield tag("path", d=_path(points, x, y), class_=_line_class(series))
    if not series.faint:
        stride = 1 if series.points else -(-len(points) // MARKS_A_CURVE)
        for at, value in points[stride // 2 :: stride]:
            yield _mark(MARKS[series.mark % len(MARKS)], _across(x, at), _down(y, value), f"mark c{series.colour}")
    if series.broken:
        at, value = points[-1]
        yield _mark(CROSS, _across(x, at), _down(y, value), f"line c{series.colour}")


def _line_class(series: Series) -> str:
    return f"line c{series.colour} d{series.dash}{' faint' if series.faint else ''}"


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{_across(x, at):.1f},{_down(y, value):.1f}" for at, value in points)


def _mark(shape: str, at: float, down: float, class_: str) -> Markup:
    return tag("path", d=shape, transform=f"translate({at:.1f} {down:.1f})", class_=class_)


def _across(x: Scale, value: float) -> float:
    return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)


def _down(y: Scale, value: float) -> float:
    """Within the drawing, a little beyond it at most."""
    bottom = HEIGHT - BOTTOM
    return min(bottom + 4.0, max(TOP - 4.0, bottom - y.place(value) * (bottom - TOP)))


def _text(x: float, y: float, content: str, anchor: str, transform: str | None = None) -> Markup:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, transform=transform)
