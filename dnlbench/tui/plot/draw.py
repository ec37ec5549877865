"""A figure as characters: title, axes and curves, in any size."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.tui.plot.curves import Curve, curves
from dnlbench.tui.plot.drawing import Drawing, Region
from dnlbench.tui.plot.figure import Axis, Figure
from dnlbench.tui.plot.framing import Framed, framed_curves
from dnlbench.tui.plot.ink import PLAIN, Ink, Look, Run
from dnlbench.tui.plot.paint import Painting, paint
from dnlbench.tui.plot.text import fitted, shortened, two_sides
from dnlbench.tui.plot.ticks import Placed, column_ticks, row_ticks
from dnlbench.tui.plot.view import View

NOTE_LINES = 2
"""At most."""
ALL_OFF = "every series is switched off"
NOT_POSITIVE = "no value above 0: none has a place on a logarithmic axis"


def draw(figure: Figure, view: View, width: int, height: int, look: Look | None = None) -> Drawing:
    """The figure in as many columns and rows. It leaves out what there is no room for: note, axis, title, in this order."""
    look = look or Look()
    width, height = max(0, width), max(0, height)
    drawn = curves(figure, view)
    found = framed_curves(figure, view, drawn)
    plan = _plan(figure, width, height)
    title = [_title(figure, view, found, width, look)] if plan.title else []
    note = [fitted([Run(line, look.quiet())], width) for line in _note(figure, width)[: plan.note]]
    said = _said(figure, found)
    if said or plan.rows < 1 or width < 1:
        body = _centred(said or "", width, height - len(title) - len(note))
        return Drawing(rows=(*title, *body, *note))
    body, region = _body(figure, drawn, found, plan, width, look)
    return Drawing(rows=(*title, *body, *note), region=region, frame=found.frame).with_cursor(view.cursor, look)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Rows for each part."""

    title: bool
    axis: bool
    labels: bool
    name: bool
    """Whether the x axis has its name below its ticks, and not beside them."""
    note: int
    rows: int
    """For the curves."""


def _plan(figure: Figure, width: int, height: int) -> _Plan:
    title, labels, axis = height >= 4, height >= 3, height >= 8
    note = min(NOTE_LINES, len(_note(figure, width))) if height >= 12 else 0
    name = height >= 20 or (height >= 10 and any(series.points for series in figure.series))
    rows = height - title - labels - axis - name - note
    return _Plan(title=title, axis=axis, labels=labels, name=name, note=note, rows=rows)


def _note(figure: Figure, width: int) -> list[str]:
    """Its lines, the last one shortened where there is more."""
    lines = [part for line in figure.note.splitlines() for part in textwrap.wrap(line, max(10, width))]
    return [*lines[: NOTE_LINES - 1], shortened(" ".join(lines[NOTE_LINES - 1 :]), width)] if lines[1:] else lines


def _said(figure: Figure, found: Framed) -> str:
    """What stands in place of the curves; empty if there are any."""
    if found.empty:
        return ALL_OFF if any(len(series.x) and len(series.y) for series in figure.series) else figure.empty
    return NOT_POSITIVE if found.nothing_placed else ""


def _centred(text: str, width: int, height: int) -> list[tuple[Run, ...]]:
    lines = textwrap.wrap(text, max(1, width))[: max(0, height)]
    above = (height - len(lines)) // 2
    rows = [fitted([Run(line.center(width), PLAIN)], width) for line in lines]
    blank = fitted([], width)
    return ([blank] * max(0, above) + rows + [blank] * max(0, height))[: max(0, height)]


def _title(figure: Figure, view: View, found: Framed, width: int, look: Look) -> tuple[Run, ...]:
    y = figure.y
    text = axis_text(y, log=False)
    named = "" if text.casefold() in figure.title.casefold() else text
    log = "log y" if found.frame.y.log else ""
    smoothing = f"smoothed {view.smoothing:g}" if view.smoothing else ""
    missing = f"{found.left_out} ≤ 0 left out" if found.left_out else ""
    choices = ((missing, named, smoothing, log), (named, log), (log,))
    texts = (" · ".join(part for part in choice if part) for choice in choices)
    right = next((text for text in texts if text and len(text) + 2 <= width // 2), "")
    said = [Run(f"  {right}", look.quiet())] if right else []
    return two_sides([Run(shortened(figure.title, width - len(right) - 2 * bool(right)), Ink(bold=True))], said, width)


def axis_text(axis: Axis, *, log: bool) -> str:
    """``time (s, log)``."""
    details = ", ".join(part for part in (axis.unit, "log" if log else "") if part)
    return f"{axis.label} ({details})" if details else axis.label


def _body(
    figure: Figure, drawn: Sequence[Curve], found: Framed, plan: _Plan, width: int, look: Look
) -> tuple[list[tuple[Run, ...]], Region]:
    """Curves and axes."""
    labels = column_ticks(found.frame.y, plan.rows, base=figure.y.base)
    margin = max(map(len, labels.values()), default=0)
    left = margin + 2 if width - margin - 2 >= 8 else 0
    columns = width - left
    painting = paint(drawn, found.frame, columns, plan.rows, look)
    rows = [(*_y_axis(labels.get(row), left, look), *_cells(painting, row)) for row in range(plan.rows)]
    name = shortened(axis_text(figure.x, log=found.frame.x.log), columns // 2)
    room = columns if plan.name or not name else columns - len(name) - 2
    ticks = row_ticks(found.frame.x, columns, room=room, base=figure.x.base, integers=found.integers)
    if plan.axis:
        rows.append(_x_axis(ticks, left, columns, look))
    if plan.labels:
        rows.append(_x_labels(ticks, "" if plan.name else name, left, columns, look))
    if plan.name:
        rows.append(fitted([Run(f"{name:>{width}}", look.axis())], width))
    return rows, Region(left=left, top=int(plan.title), columns=columns, rows=plan.rows)


def _y_axis(label: str | None, left: int, look: Look) -> tuple[Run, ...]:
    if not left:
        return ()
    return (Run(f"{label or '':>{left - 2}} {'│' if label is None else '┤'}", look.axis()),)


def _x_axis(ticks: Sequence[Placed], left: int, columns: int, look: Look) -> tuple[Run, ...]:
    line = ["─"] * columns
    for tick in ticks:
        line[tick.column] = "┬"
    return (Run(" " * (left - 1) + "└" * bool(left) + "".join(line), look.axis()),)


def _x_labels(ticks: Sequence[Placed], name: str, left: int, columns: int, look: Look) -> tuple[Run, ...]:
    """Ticks, and at the right what the axis is."""
    line = ""
    for tick in ticks:
        if tick.label:
            line = f"{line:<{tick.start}}{tick.label}"
    text = f"{line:<{columns - len(name)}}{name}" if name else line
    return fitted([Run(" " * left + text, look.axis())], left + columns)


def _cells(painting: Painting, row: int) -> list[Run]:
    """Characters of a row, those that look alike together."""
    raster = painting.raster
    first = row * raster.columns
    keys = list(
        zip(raster.pens[first : first + raster.columns], raster.shades[first : first + raster.columns], strict=True)
    )
    texts = [raster.text(cell) for cell in range(first, first + raster.columns)]
    result, start = [], 0
    for column in range(1, raster.columns + 1):
        if column == raster.columns or keys[column] != keys[start]:
            result.append(Run("".join(texts[start:column]), painting.ink(first + start)))
            start = column
    return result
