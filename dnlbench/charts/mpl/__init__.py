"""Charts drawn by Matplotlib: SVG, PNG and PDF. Matplotlib is imported when a figure is drawn, not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dnlbench.charts.figure import Block, FigureLayout
from dnlbench.charts.model import Chart
from dnlbench.errors import ConfigurationError

__all__ = ["DPI", "WIDTHS", "Width", "chart_bytes", "chart_svg", "inches", "sheet_bytes"]

Width = float | Literal["column", "page"]
"""Of a figure, in inches or by name."""
WIDTHS = {"column": 3.3, "page": 6.8}
"""Inches."""
NARROWEST, WIDEST = 2.5, 40.0
DPI = 300


def inches(width: Width) -> float:
    """The width of a figure.

    Raises:
        ConfigurationError: for a width that no figure can have.
    """
    if isinstance(width, str):
        return WIDTHS[width]
    if not NARROWEST <= width <= WIDEST:
        raise ConfigurationError(f"width {width:g}: a figure is {NARROWEST:g} to {WIDEST:g} inches wide")
    return width


def figure_bytes(layout: FigureLayout, format_: str, *, width: Width = "page", dpi: int = DPI) -> bytes:
    """A figure as the content of a file, as high as it has to be; the same bytes for equal sheets.

    Raises:
        ConfigurationError: for a width that no figure can have.
    """
    width_in = inches(width)  # its error needs no Matplotlib
    from dnlbench.charts.mpl.render import render

    return render(layout, format_=format_, width_in=width_in, dpi=dpi)


def chart_bytes(charts: Sequence[Chart], format_: str, *, width: Width = "page", dpi: int = DPI) -> bytes:
    """Charts side by side with a common legend; see `figure_bytes`."""
    title = ", ".join(chart.title for chart in charts)
    return figure_bytes(FigureLayout(title=title, blocks=(Block(charts=tuple(charts)),)), format_, width=width, dpi=dpi)


def chart_svg(charts: Sequence[Chart], *, width: Width = "page") -> str:
    """The same as one ``<svg>`` element without a prologue, to stand in HTML. No id or style of it affects the page."""
    from dnlbench.charts.mpl.render import embeddable

    return embeddable(chart_bytes(charts, "svg", width=width).decode())
