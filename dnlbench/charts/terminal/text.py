"""Styled text of a given width in columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from dnlbench.charts.model import Series
from dnlbench.charts.terminal.curves import color_of

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


class TextStyle(NamedTuple):
    """The style of a character. An empty color is the default of the terminal or widget."""

    color: str = ""
    background: str = ""
    bold: bool = False
    dim: bool = False


class Span(NamedTuple):
    """Consecutive characters of one style."""

    text: str
    style: TextStyle


PLAIN = TextStyle()


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colors and state of the widget or terminal that shows a chart."""

    foreground: str = ""
    background: str = ""
    """``#rrggbb``; empty if unknown, as for the terminal's own color. Bands are then not shaded."""
    colors: bool = True
    """False to draw bands as edges instead of shades."""

    focused: bool = False
    """True if the chart has keyboard focus, which highlights its axes."""
    ansi: bool = False
    """True to use only the terminal's own palette."""

    def color(self, series: Series) -> str:
        """Return the color of lines and markers; empty for the foreground color."""
        return color_of(series, ansi=self.ansi)

    def axis(self) -> TextStyle:
        return PLAIN if self.focused else self.quiet()

    def quiet(self) -> TextStyle:
        """Return the style of secondary text."""
        blended = blend(self.foreground, self.background, 0.6) if self.colors else ""
        return TextStyle(color=blended) if blended else TextStyle(dim=True)

    def faint(self, series: Series) -> TextStyle:
        """Return the style of background curves."""
        color = self.color(series)
        blended = blend(color or self.foreground, self.background, 0.5) if self.colors else ""
        return TextStyle(color=blended) if blended else TextStyle(color=color, dim=True)

    def shade(self, series: Series) -> str:
        """Return the background color of a band; empty if unavailable."""
        return blend(self.color(series) or self.foreground, self.background, 0.22) if self.colors else ""


def blend(color: str, background: str, opacity: float) -> str:
    """Blend a color onto a background; empty unless both are ``#rrggbb``."""
    if not (_HEX.fullmatch(color) and _HEX.fullmatch(background)):
        return ""
    pairs = ((int(color[k : k + 2], 16), int(background[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(opacity * over + (1 - opacity) * under):02x}" for over, under in pairs)


def shortened(text: str, width: int) -> str:
    """Cut text to a width, with an ellipsis if it is cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def width_of(spans: Iterable[Span]) -> int:
    """Return the total width of spans in columns."""
    return sum(cell_len(span.text) for span in spans)


def fitted(spans: Sequence[Span], width: int) -> tuple[Span, ...]:
    """Cut or pad spans to a width."""
    result: list[Span] = []
    left = max(0, width)
    for text, style in spans:
        wide = cell_len(text)
        if wide > left:
            text, wide = shortened(text, left), left
            text = set_cell_size(text, left)
        if text:
            result.append(Span(text, style))
        left -= wide
    return (*result, Span(" " * left, PLAIN)) if left > 0 else tuple(result)


def justified(left: Sequence[Span], right: Sequence[Span], width: int) -> tuple[Span, ...]:
    """Align spans at both ends of a line. Cut the left part if necessary; drop a right part wider than half the line."""
    wide = width_of(right)
    if wide > width // 2:
        return fitted(left, width)
    return (*fitted(left, width - wide), *right) if wide else fitted(left, width)
