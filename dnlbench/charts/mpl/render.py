"""Render figures reproducibly: equal input gives equal bytes, without dates, random ids or user settings."""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

from dnlbench.charts.figure import FigureLayout
from dnlbench.charts.mpl import settings
from dnlbench.charts.mpl.layout import draw_figure
from dnlbench.charts.mpl.styled import StyledFigure, style

_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def render(layout: FigureLayout, *, format_: str, width_in: float, dpi: int) -> bytes:
    """Render a figure as SVG, PDF or PNG."""
    out = io.BytesIO()
    figure = draw(layout, width_in)
    figure.savefig(out, format=format_, dpi=dpi, metadata={**_METADATA[format_], "Title": layout.title})
    return _with_fonts(out.getvalue()) if format_ == "svg" else out.getvalue()


def draw(layout: FigureLayout, width_in: float) -> StyledFigure:
    """Draw a figure that keeps its style when it is saved."""
    with style():
        return draw_figure(layout.blocks, width_in)


def embeddable(svg: str) -> str:
    """Return the ``<svg>`` element for HTML, with unique ids and the width of its container.

    Styles become attributes, because the content security policy of the page blocks inline styles.
    """
    element = svg[svg.index("<svg") :]
    name = f"f{hashlib.sha256(element.encode()).hexdigest()[:8]}-"
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', element))
    element = re.sub(r"<(style|metadata)\b.*?</\1>", "", element, flags=re.DOTALL)
    element = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}{match[1]}"' if match[1] in used else "", element)
    element = re.sub(r'(href="#|url\(#)', rf"\1{name}", element.replace("xlink:href", "href"))
    element = re.sub(r'style="([^"]*)"', lambda match: re.sub(r"([\w-]+): ([^;]*);? ?", r'\1="\2" ', match[1]), element)
    element = re.sub(r' (?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", element, count=5)
    element = re.sub(r"\s*\n\s*", " ", element)
    return element.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)


def _with_fonts(svg: bytes) -> bytes:
    """Add fallback fonts."""
    return svg.replace(f"'{settings.FONT}'".encode(), f"'{settings.FONT}', {settings.FALLBACK_FONTS}".encode())
