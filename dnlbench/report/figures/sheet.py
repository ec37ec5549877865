"""Blocks of panels one below the other, each with its legend and notes; everything is measured, so that nothing is cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from dnlbench.report.figures import style
from dnlbench.report.figures.draw import Frame, draw_panel, frame_of, line_style, marker_style
from dnlbench.report.figures.lines import Fits, shortened, wrapped
from dnlbench.report.figures.panel import Block, Entry

EDGE_IN = 0.06
GAP_IN = 0.16
"""Between panels, and between the parts of a block."""
NARROWEST_IN = 1.5
"""Of a panel with its labels."""
MOST_COLUMNS = 4
HEIGHT_SHARE = 0.72
"""Of a panel's width, for its height."""
LOWEST_IN, HIGHEST_IN = 1.4, 2.6
INNER_SHARE = 0.78
"""Of a panel's width, for what is between its labels, as long as these are not measured."""
LEADING = 1.35
TITLE_PAD_PT = 4.0
MOST_NOTE_LINES = 12
MORE = "… and more: see dnlbench profiles show."
HANDLE_EMS = 2.4
LONGEST_HANDLE = 3
"""Looks for which there is room for a line each."""
_POINT = 1 / 72


@dataclass(frozen=True, kw_only=True)
class _Room:
    """What labels take around axes, in inches."""

    left: float
    right: float
    bottom: float
    top: float


def sheet(blocks: Sequence[Block], depths: Sequence[int], width_in: float) -> Figure:
    """A figure of that width, as high as it has to be."""
    figure = Figure(figsize=(width_in, 10.0))
    FigureCanvasAgg(figure)  # which texts are measured on
    parts = [_Part(figure, block, [float(depth) for depth in depths], width_in) for block in blocks]
    height = sum(part.height_in for part in parts) + GAP_IN * (len(parts) - 1) + 2 * EDGE_IN
    figure.set_size_inches(width_in, height)
    top = height - EDGE_IN
    for part in parts:
        part.place(top, height)
        top -= part.height_in + GAP_IN
    return figure


class _Part:
    """A block, drawn and measured, that is still to be put somewhere."""

    def __init__(self, figure: Figure, block: Block, depths: Sequence[float], width_in: float) -> None:
        self._figure, self._width_in = figure, width_in
        columns = _columns(len(block.panels), width_in)
        outer = (width_in - 2 * EDGE_IN - GAP_IN * (columns - 1)) / columns
        self._inner_height = min(max(HEIGHT_SHARE * outer, LOWEST_IN), HIGHEST_IN)
        frames = _frames(block, depths)
        at_edge = any(cross.y is None for panel in block.panels for cross in panel.crosses)
        pad = TITLE_PAD_PT + style.CROSS_PT * at_edge
        self._rows: list[list[Axes]] = []
        for place, (panel, frame) in enumerate(zip(block.panels, frames, strict=True)):
            axes = figure.add_axes((0.1, 0.1, INNER_SHARE * outer / width_in, self._inner_height / 10), label=panel.key)
            draw_panel(axes, panel, frame, depths=depths, width_in=INNER_SHARE * outer, height_in=self._inner_height)
            title = shortened(panel.title, self._fits(INNER_SHARE * outer, style.TEXT_PT))
            axes.set_title(title, loc="left", pad=pad)
            if place % columns == 0:
                self._rows.append([])
            elif block.one_scale:
                axes.set_ylabel("")
                axes.tick_params(labelleft=False)
            self._rows[-1].append(axes)
        self._columns = columns
        self._rooms = [[self._room(axes) for axes in row] for row in self._rows]
        free = width_in - 2 * EDGE_IN
        self._legends = [self._legend(entries, free) for entries in block.legend]
        self._notes = wrapped(block.notes, self._fits(free), MOST_NOTE_LINES, MORE)
        self._line_in = style.SMALL_PT * LEADING * _POINT

    @property
    def height_in(self) -> float:
        """Of everything."""
        rows = sum(self._row_height(rooms) for rooms in self._rooms) + GAP_IN / 2 * (len(self._rooms) - 1)
        legend = sum(self._extent_in(each)[1] + GAP_IN / 2 for each in self._legends)
        notes = self._line_in * len(self._notes) + GAP_IN / 2 if self._notes else 0.0
        return rows + legend + notes

    def place(self, top: float, height: float) -> None:
        """Puts everything below ``top`` in a figure of that height, in inches."""
        left = [max(room[k].left for room in self._rooms if k < len(room)) for k in range(self._columns)]
        right = [max(room[k].right for room in self._rooms if k < len(room)) for k in range(self._columns)]
        free = self._width_in - 2 * EDGE_IN - GAP_IN * (self._columns - 1) - sum(left) - sum(right)
        inner = free / self._columns
        for row, rooms in zip(self._rows, self._rooms, strict=True):
            above = max(room.top for room in rooms)
            x = EDGE_IN
            for column, axes in enumerate(row):
                x += left[column]
                bottom = top - above - self._inner_height
                axes.set_position(
                    (x / self._width_in, bottom / height, inner / self._width_in, self._inner_height / height)
                )
                x += inner + right[column] + GAP_IN
            top -= self._row_height(rooms) + GAP_IN / 2
        for legend in self._legends:
            legend.set_bbox_to_anchor((EDGE_IN / self._width_in, top / height), transform=self._figure.transFigure)
            top -= self._extent_in(legend)[1] + GAP_IN / 2
        for number, line in enumerate(self._notes):
            y = top - (number + 1) * self._line_in + 0.25 * style.SMALL_PT * _POINT
            self._figure.text(EDGE_IN / self._width_in, y / height, line, fontsize=style.SMALL_PT, color="#333333")

    def _row_height(self, rooms: Sequence[_Room]) -> float:
        return max(room.top for room in rooms) + self._inner_height + max(room.bottom for room in rooms)

    def _room(self, axes: Axes) -> _Room:
        inner, outer, dpi = axes.get_window_extent(), axes.get_tightbbox(), self._figure.dpi
        assert outer is not None
        return _Room(
            left=max(0.0, inner.x0 - outer.x0) / dpi,
            right=max(0.0, outer.x1 - inner.x1) / dpi,
            bottom=max(0.0, inner.y0 - outer.y0) / dpi,
            top=max(0.0, outer.y1 - inner.y1) / dpi,
        )

    def _extent_in(self, artist: Any) -> tuple[float, float]:
        box = artist.get_window_extent()
        return box.width / self._figure.dpi, box.height / self._figure.dpi

    def _fits(self, width_in: float, size_pt: float = style.SMALL_PT) -> Fits:
        def fits(text: str) -> bool:
            artist = self._figure.text(0, 0, text, fontsize=size_pt)
            width, _ = self._extent_in(artist)
            artist.remove()
            return width <= width_in

        return fits

    def _legend(self, entries: Sequence[Entry], width_in: float) -> Legend:
        """In as many columns as there is room for."""
        handle_ems = HANDLE_EMS * min(max(len(entry.looks) for entry in entries), LONGEST_HANDLE)
        fits = self._fits(width_in - (handle_ems + 1) * style.SMALL_PT * _POINT)
        labels = [shortened(entry.label, fits) for entry in entries]
        handles = [tuple(_handle(entry, k) for k in range(len(entry.looks))) for entry in entries]
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


def _columns(panels: int, width_in: float) -> int:
    """As many panels side by side as there is room for, in rows of one length as far as that is possible."""
    most = max(1, min(MOST_COLUMNS, panels, int((width_in - 2 * EDGE_IN + GAP_IN) / (NARROWEST_IN + GAP_IN))))
    return math.ceil(panels / math.ceil(panels / most))


def _frames(block: Block, depths: Sequence[float]) -> list[Frame]:
    if block.one_scale:
        return [frame_of(block.panels, depths)] * len(block.panels)
    return [frame_of([panel], depths) for panel in block.panels]


def _handle(entry: Entry, place: int) -> Line2D:
    look = entry.looks[place]
    return Line2D(
        [0],
        [0],
        color=look.colour,
        linestyle=line_style(look) if entry.line else "none",
        linewidth=style.LINE_PT,
        **marker_style(look),
    )
