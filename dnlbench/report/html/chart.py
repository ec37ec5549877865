"""A chart as plain data, which the page's script draws and redraws, and `dnlbench.report.html.still` once for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dnlbench.charts.scales import drawable
from dnlbench.escape import printable

MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.5,-3.5h7v7h-7z",
    "M0,-4.6L4.4,3.4H-4.4z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.6L4.4,-3.4H-4.4z",
    "M-4.5,-1.4h3.1v-3.1h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1z",
    "M-4.4,-2L0,-5L4.4,-2L2.8,4H-2.8z",
    "M-5,-2.6h10v5.2h-10z",
)
"""SVG paths about the origin, of one size."""
CROSS = "M-4,-4L4,4M-4,4L4,-4"
"""Where a curve ends because its run did not end well."""
COLOURS = 8
"""Classes ``c0``, ``c1``, … of the style sheet."""
DIGITS = 5
"""Significant ones of the numbers in a page: finer than any screen."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is along one side."""

    label: str
    """With its unit."""
    log: bool = False
    """At first; the reader may change it."""
    base: int = 10
    """Of logarithmic ticks."""
    whole: bool = False
    """Whether its values are whole numbers, so that no tick is between them."""
    least: float | None = None
    """Where it ends, unless it is logarithmic; None: where the values do. So for ``most``."""
    most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve."""

    name: str
    colour: int
    mark: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    """Finite, as ``x``."""
    low: tuple[float | None, ...] = ()
    """Of its band, as many as there are values; empty where it has none."""
    high: tuple[float | None, ...] = ()
    seeds: int = 1
    dash: int = 0
    """Of its line: 0 for the reference and for an only profile, 1, 2 and 3 for candidates."""
    faint: bool = False
    """A single run that did not end well, or a curve that was fitted."""
    points: bool = False
    """Whether each value has a mark."""
    broken: bool = False
    """Whether its end is that of a run that went wrong."""

    def drawable(self) -> Series:
        """Without the values and the bounds that a chart has no place for."""
        kept = [place for place, value in enumerate(self.y) if drawable(value) is not None]
        return replace(
            self,
            x=tuple(self.x[place] for place in kept),
            y=tuple(drawable(self.y[place]) or 0.0 for place in kept),
            low=tuple(_drawable(self.low[place]) for place in kept) if self.low else (),
            high=tuple(_drawable(self.high[place]) for place in kept) if self.high else (),
        )

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": printable(self.name),
            "mark": self.mark,
            "colour": self.colour,
            "n": self.seeds,
            "x": _rounded(self.x),
            "y": _rounded(self.y),
            "low": _rounded(self.low),
            "high": _rounded(self.high),
            "dash": self.dash,
            "faint": self.faint,
            "points": self.points,
            "broken": self.broken,
        }


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over one pair of axes."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str
    """How it is to be read."""

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        axes = {
            key: {field: getattr(axis, field) for field in ("label", "log", "base", "whole", "least", "most")}
            for key, axis in (("x", self.x), ("y", self.y))
        }
        return {"title": printable(self.title), **axes, "series": [each.plain() for each in self.series]}


def _drawable(bound: float | None) -> float | None:
    return None if bound is None else drawable(bound)


def _rounded(values: Sequence[float | None]) -> list[float | int | None]:
    return [None if value is None else _short(value) for value in values]


def _short(value: float) -> float | int:
    found = float(f"{value:.{DIGITS}g}")
    return int(found) if found == int(found) and abs(found) < 1e15 else found
