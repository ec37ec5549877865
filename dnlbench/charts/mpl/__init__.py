"""Figures rendered by Matplotlib as SVG, PNG or PDF. Matplotlib is imported only to draw a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from dnlbench.charts.figure import Block, FigureLayout
from dnlbench.charts.model import Chart
from dnlbench.errors import ConfigurationError

if TYPE_CHECKING:
    from dnlbench.charts.mpl.styled import StyledFigure

__all__ = ["DPI", "WIDTHS", "Width", "chart_bytes", "chart_svg", "inches", "sheet_bytes"]

Width = float | Literal["column", "page"]
"""Width of a figure, in inches or by name."""
WIDTHS = {"column": 3.3, "page": 6.8}
"""Named widths in inches."""
MIN_WIDTH, MAX_WIDTH = 2.5, 40.0
DPI = 300


def inches(width: Width) -> float:
    """Return the width of a figure in inches.

    Raises:
        ConfigurationError: if the width is out of range.
    """
    if isinstance(width, str):
        return WIDTHS[width]
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ConfigurationError(f"width {width:g}: a figure must be {MIN_WIDTH:g} to {MAX_WIDTH:g} inches wide")
    return width


def figure(layout: FigureLayout, *, width: Width = "page") -> StyledFigure:
    """Draw a Matplotlib figure; its height follows from its content.

    Raises:
        ConfigurationError: if the width is out of range.
    """
    width_in = inches(width)
    from dnlbench.charts.mpl.render import draw

    return draw(layout, width_in)


def figure_bytes(layout: FigureLayout, format_: str, *, width: Width = "page", dpi: int = DPI) -> bytes:
    """Render a figure; its height follows from its content. Equal layouts give equal bytes.

    Raises:
        ConfigurationError: if the width is out of range.
    """
    width_in = inches(width)  # raises before Matplotlib is imported
    from dnlbench.charts.mpl.render import render

    return render(layout, format_=format_, width_in=width_in, dpi=dpi)


def chart_bytes(charts: Sequence[Chart], format_: str, *, width: Width = "page", dpi: int = DPI) -> bytes:
    """Render charts side by side with a shared legend; see `figure_bytes`."""
    title = ", ".join(chart.title for chart in charts)
    return figure_bytes(FigureLayout(title=title, blocks=(Block(charts=tuple(charts)),)), format_, width=width, dpi=dpi)


def chart_svg(charts: Sequence[Chart], *, width: Width = "page") -> str:
    """Render charts as a single ``<svg>`` element for HTML. Its ids and styles do not affect the page."""
    from dnlbench.charts.mpl.render import embeddable

    return embeddable(chart_bytes(charts, "svg", width=width).decode())
