"""Lay out blocks of charts from top to bottom, each with its legend and notes, and measure text so that all of it fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from dnlbench.charts.figure import Block
from dnlbench.charts.model import Chart
from dnlbench.charts.mpl import settings
from dnlbench.charts.mpl.axes import Frame, frame_of
from dnlbench.charts.mpl.draw import draw_chart, line_style, marker_style
from dnlbench.charts.mpl.styled import StyledFigure
from dnlbench.charts.mpl.styles import FAILED, REFERENCE_STYLES, Style, identity_style, profile_style, style_of
from dnlbench.charts.mpl.text import Fits, shortened, unbreakable, wrapped

EDGE_IN = 0.06
GAP_IN = 0.16
"""Gap between charts and between the parts of a block."""
MIN_CHART_WIDTH_IN = 1.5
"""Minimum width of a chart including its labels."""
MOST_COLUMNS = 4
HEIGHT_FRACTION = 0.72
"""Height of a chart as a fraction of its width."""
MIN_HEIGHT_IN, MAX_HEIGHT_IN = 1.4, 2.6
INNER_FRACTION = 0.78
"""Width of the axes as a fraction of the chart width, before labels are measured."""
LEADING = 1.35
TITLE_PAD_PT = 4.0
MOST_NOTE_LINES = 12
MORE = "… For more, run dnlbench profiles show."
HANDLE_EMS = 2.4
LONGEST_HANDLE = 3
"""Maximum number of line samples in one legend entry."""
_POINT = 1 / 72


@dataclass(frozen=True, kw_only=True)
class _Margins:
    """Space for labels around axes, in inches."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True, kw_only=True)
class _Entry:
    label: str
    styles: tuple[Style, ...]
    """More than one if the style differs between charts."""
    line: bool = True
    """True to show a line beside the marker."""


def draw_figure(blocks: Sequence[Block], width_in: float) -> StyledFigure:
    """Draw a figure of the given width; its height follows from its content."""
    figure = StyledFigure(figsize=(width_in, 10.0))
    FigureCanvasAgg(figure)  # needed to measure text
    first = {note: index for index, block in reversed(list(enumerate(blocks))) for note in reversed(_notes(block))}
    parts = [
        _Part(figure, block, [note for note in dict.fromkeys(_notes(block)) if first[note] == index], width_in)
        for index, block in enumerate(blocks)
    ]
    height = sum(part.height_in for part in parts) + GAP_IN * (len(parts) - 1) + 2 * EDGE_IN
    figure.set_size_inches(width_in, height)
    top = height - EDGE_IN
    for part in parts:
        part.move_to(top, height)
        top -= part.height_in + GAP_IN
    return figure


class _Part:
    """A block, drawn and measured but not yet positioned."""

    def __init__(self, figure: Figure, block: Block, notes: Sequence[str], width_in: float) -> None:
        self._figure, self._width_in, charts = figure, width_in, block.charts
        self._columns = _columns(len(charts), width_in)
        outer = (width_in - 2 * EDGE_IN - GAP_IN * (self._columns - 1)) / self._columns
        self._inner_height = min(max(HEIGHT_FRACTION * outer, MIN_HEIGHT_IN), MAX_HEIGHT_IN)
        self._rows: list[list[Axes]] = []
        pad = TITLE_PAD_PT + settings.CROSS_PT * any(_is_at_edge(chart) for chart in charts)
        for index, (chart, frame) in enumerate(zip(charts, _frames(block), strict=True)):
            axes = figure.add_axes((0.1, 0.1, INNER_FRACTION * outer / width_in, self._inner_height / 10))
            axes.set_label(chart.subject or chart.key)
            draw_chart(axes, chart, frame, width_in=INNER_FRACTION * outer, height_in=self._inner_height)
            title = shortened(chart.subject, self._fits(INNER_FRACTION * outer, settings.TEXT_PT))
            axes.set_title(title, loc="left", pad=pad)
            if index % self._columns == 0:
                self._rows.append([])
            elif block.one_scale:
                axes.set_ylabel("")
                axes.tick_params(labelleft=False)
            self._rows[-1].append(axes)
        self._margins = [[self._margin(axes) for axes in row] for row in self._rows]
        free = width_in - 2 * EDGE_IN
        self._legends = [self._legend(entries, free) for entries in _legend_groups(charts) if entries]
        self._notes = wrapped(notes, self._fits(free), MOST_NOTE_LINES, MORE)
        self._line_in = settings.SMALL_PT * LEADING * _POINT

    @property
    def height_in(self) -> float:
        rows = sum(self._row_height(margins) for margins in self._margins) + GAP_IN / 2 * (len(self._margins) - 1)
        legend = sum(self._extent_in(each)[1] + GAP_IN / 2 for each in self._legends)
        notes = self._line_in * len(self._notes) + GAP_IN / 2 if self._notes else 0.0
        return rows + legend + notes

    def move_to(self, top: float, height: float) -> None:
        """Position everything below ``top`` in a figure of the given height, in inches."""
        left = [max(row[k].left for row in self._margins if k < len(row)) for k in range(self._columns)]
        right = [max(row[k].right for row in self._margins if k < len(row)) for k in range(self._columns)]
        free = self._width_in - 2 * EDGE_IN - GAP_IN * (self._columns - 1) - sum(left) - sum(right)
        inner = free / self._columns
        for row, margins in zip(self._rows, self._margins, strict=True):
            above = max(margin.top for margin in margins)
            x = EDGE_IN
            for column, axes in enumerate(row):
                x += left[column]
                bottom = top - above - self._inner_height
                axes.set_position(
                    (x / self._width_in, bottom / height, inner / self._width_in, self._inner_height / height)
                )
                x += inner + right[column] + GAP_IN
            top -= self._row_height(margins) + GAP_IN / 2
        for legend in self._legends:
            legend.set_bbox_to_anchor((EDGE_IN / self._width_in, top / height), transform=self._figure.transFigure)
            top -= self._extent_in(legend)[1] + GAP_IN / 2
        for number, line in enumerate(self._notes):
            y = top - (number + 1) * self._line_in + 0.25 * settings.SMALL_PT * _POINT
            self._figure.text(EDGE_IN / self._width_in, y / height, line, fontsize=settings.SMALL_PT, color="#333333")

    def _row_height(self, margins: Sequence[_Margins]) -> float:
        return max(margin.top for margin in margins) + self._inner_height + max(margin.bottom for margin in margins)

    def _margin(self, axes: Axes) -> _Margins:
        inner, outer, dpi = axes.get_window_extent(), axes.get_tightbbox(), self._figure.dpi
        assert outer is not None
        return _Margins(
            left=max(0.0, inner.x0 - outer.x0) / dpi,
            right=max(0.0, outer.x1 - inner.x1) / dpi,
            bottom=max(0.0, inner.y0 - outer.y0) / dpi,
            top=max(0.0, outer.y1 - inner.y1) / dpi,
        )

    def _extent_in(self, artist: Any) -> tuple[float, float]:
        box = artist.get_window_extent()
        return box.width / self._figure.dpi, box.height / self._figure.dpi

    def _fits(self, width_in: float, size_pt: float = settings.SMALL_PT) -> Fits:
        def fits(text: str) -> bool:
            artist = self._figure.text(0, 0, text, fontsize=size_pt)
            width, _ = self._extent_in(artist)
            artist.remove()
            return width <= width_in

        return fits

    def _legend(self, entries: Sequence[_Entry], width_in: float) -> Legend:
        handle_ems = HANDLE_EMS * min(max(len(entry.styles) for entry in entries), LONGEST_HANDLE)
        fits = self._fits(width_in - (handle_ems + 1) * settings.SMALL_PT * _POINT)
        labels = [shortened(entry.label, fits) for entry in entries]
        handles = [tuple(_handle(entry, k) for k in range(len(entry.styles))) for entry in entries]
        for columns in range(len(entries), 0, -1):
            legend = Legend(
                self._figure,
                handles,
                labels,
                loc="upper left",
                ncols=columns,
                borderpad=0,
                borderaxespad=0,
                handlelength=handle_ems,
                handletextpad=0.5,
                columnspacing=1.4,
                handler_map={tuple: HandlerTuple(ndivide=None, pad=0.4)},
            )
            self._figure.add_artist(legend)
            if columns == 1 or self._extent_in(legend)[0] <= width_in:
                return legend
            legend.remove()
        raise AssertionError(entries)


def _columns(charts: int, width_in: float) -> int:
    """Return the number of chart columns that fit, balanced over the rows."""
    most = max(1, min(MOST_COLUMNS, charts, int((width_in - 2 * EDGE_IN + GAP_IN) / (MIN_CHART_WIDTH_IN + GAP_IN))))
    return math.ceil(charts / math.ceil(charts / most))


def _frames(block: Block) -> list[Frame]:
    if block.one_scale:
        return [frame_of(block.charts)] * len(block.charts)
    return [frame_of([chart]) for chart in block.charts]


def _is_at_edge(chart: Chart) -> bool:
    return any(each.failed and not any(map(math.isfinite, each.y)) for each in chart.series)


def _legend_groups(charts: Sequence[Chart]) -> tuple[list[_Entry], list[_Entry]]:
    """Return the legend entries of series and of profiles. Equal entries of different charts are merged."""
    styles: dict[str, dict[Style, None]] = {}
    everything = [each for chart in charts for each in chart.series]
    for each in sorted(everything, key=lambda s: (s.role in REFERENCE_STYLES, s.identity.index)):
        if each.role in REFERENCE_STYLES:
            styles.setdefault(each.label, {})[style_of(each)] = None
        elif each.role in ("mean", "run"):
            label = each.identity.label or each.label
            styles.setdefault(label, {})[identity_style(replace(each.identity, profile=0))] = None
    entries = [_Entry(label=label, styles=tuple(group)) for label, group in styles.items()]
    if any(each.failed for each in everything):
        entries.append(_Entry(label="failed", styles=(FAILED,), line=False))
    profiles = dict.fromkeys(name for chart in charts for name in chart.profiles)
    return entries, [_Entry(label=name, styles=(profile_style(index),)) for index, name in enumerate(profiles)]


def _notes(block: Block) -> list[str]:
    """Return how to read the charts, then the fits of each chart, then all other notes."""
    reading = [note for chart in block.charts for note in chart.notes[:1]]
    others = [note for chart in block.charts for note in chart.notes[1:]]
    return [*reading, *(_fits_note(chart) for chart in block.charts if chart.fits), *others]


def _fits_note(chart: Chart) -> str:
    label, fits = chart.y.label, "; ".join(map(unbreakable, chart.fits))
    return f"{label[0].upper()}{label[1:]}{' [95 %]' if '[' in fits else ''}: {fits}."


def _handle(entry: _Entry, index: int) -> Line2D:
    style = entry.styles[index]
    return Line2D(
        [0],
        [0],
        color=style.color,
        linestyle=line_style(style) if entry.line else "none",
        linewidth=settings.LINE_PT,
        **marker_style(style),
    )
