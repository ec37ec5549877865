"""Styled text that takes a given number of columns."""

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
    """How a character looks. An empty color is that of the terminal or widget."""

    color: str = ""
    background: str = ""
    bold: bool = False
    dim: bool = False


class Span(NamedTuple):
    """Characters next to each other that look alike."""

    text: str
    style: TextStyle


PLAIN = TextStyle()


@dataclass(frozen=True, kw_only=True)
class Theme:
    """What a chart is drawn on."""

    foreground: str = ""
    background: str = ""
    """``#rrggbb``; empty where it is not known, as the terminal's own. Then nothing is shaded."""
    colors: bool = True
    """Without, nothing depends on colors: bands have edges, and are not shaded."""

    focused: bool = False
    """Whether keys go to the chart: its axes stand out then."""
    ansi: bool = False
    """Whether to keep to the terminal's own colors."""

    def color(self, series: Series) -> str:
        """Of its lines and marks; empty: the foreground."""
        return color_of(series, ansi=self.ansi)

    def axis(self) -> TextStyle:
        return PLAIN if self.focused else self.quiet()

    def quiet(self) -> TextStyle:
        """Of what is there to be found, not to be seen."""
        blended = blend(self.foreground, self.background, 0.6) if self.colors else ""
        return TextStyle(color=blended) if blended else TextStyle(dim=True)

    def faint(self, series: Series) -> TextStyle:
        """Of what is behind."""
        color = self.color(series)
        blended = blend(color or self.foreground, self.background, 0.5) if self.colors else ""
        return TextStyle(color=blended) if blended else TextStyle(color=color, dim=True)

    def shade(self, series: Series) -> str:
        """Background of a band; empty where none can be had."""
        return blend(self.color(series) or self.foreground, self.background, 0.22) if self.colors else ""


def blend(color: str, background: str, share: float) -> str:
    """``share`` of a color on a background, by channels; empty unless both are ``#rrggbb``."""
    if not (_HEX.fullmatch(color) and _HEX.fullmatch(background)):
        return ""
    pairs = ((int(color[k : k + 2], 16), int(background[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(share * over + (1 - share) * under):02x}" for over, under in pairs)


def shortened(text: str, width: int) -> str:
    """Not longer than that, with an ellipsis where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def width_of(spans: Iterable[Span]) -> int:
    """Columns that they take."""
    return sum(cell_len(span.text) for span in spans)


def fitted(spans: Sequence[Span], width: int) -> tuple[Span, ...]:
    """Cut or filled with blanks to a width."""
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
    """Something at either end of a line. The left one is cut if need be; the right one is left out if it takes too much."""
    wide = width_of(right)
    if wide > width // 2:
        return fitted(left, width)
    return (*fitted(left, width - wide), *right) if wide else fitted(left, width)
