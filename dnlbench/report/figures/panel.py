"""What a figure for print shows, before it is known how large it will be: plain data, without Matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.stats import Range

Dashes = tuple[float, ...]
"""Lengths of dashes and gaps in multiples of a line's width; empty: a solid line."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What tells series apart: each of two in one panel that differ in meaning differs in colour, and in marker or dashes."""

    colour: str
    """``#rrggbb``."""
    marker: str = ""
    """As Matplotlib names it; empty: none."""
    dashes: Dashes = ()
    filled: bool = True
    """Whether the marker is."""


Scale = Literal["linear", "log"]
Ticks = Literal["number", "count", "share", "whole", "depth"]
"""How an axis is labelled: plain numbers, with decimal prefixes, per cent, whole numbers, or the depths that there are."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the two axes."""

    label: str
    unit: str = ""
    """Empty for a pure number."""
    scale: Scale = "linear"
    ticks: Ticks = "number"
    range: Range = "any"
    """Where values can lie: the axis ends there."""

    @property
    def text(self) -> str:
        """What stands beside it."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Series:
    """Measured values. All sequences have one length; ``x`` increases."""

    key: str
    """Tells series of one panel apart."""
    x: Sequence[float]
    y: Sequence[float]
    """Finite."""
    look: Look
    low: Sequence[float] | None = None
    """Lower end of an interval around ``y``; NaN where there is none. So for ``high``."""
    high: Sequence[float] | None = None
    thin: bool = False
    """Whether the line is there to guide the eye from point to point."""
    as_bars: bool = False
    """Whether intervals are drawn as bars, for few points, and not as a band."""
    joined: bool = True
    """Whether lines join the points."""
    faint: bool = False
    """In the background: a run that is in no mean."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve that follows from a fit, or one to compare with."""

    key: str
    x: Sequence[float]
    y: Sequence[float]
    look: Look
    thin: bool = False


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A value at infinite depth, with its interval where that is known."""

    key: str
    start: float
    """The depth where its line begins."""
    value: float
    low: float | None
    high: float | None
    look: Look


@dataclass(frozen=True, kw_only=True)
class Cross:
    """Where something ended badly."""

    key: str
    x: float
    y: float | None
    """None: no value is known, and it stands at the upper edge."""
    look: Look


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes with what is drawn in them."""

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...] = ()
    curves: tuple[Curve, ...] = ()
    limits: tuple[Limit, ...] = ()
    crosses: tuple[Cross, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the legend."""

    label: str
    looks: tuple[Look, ...]
    """Several where one thing has a look in each panel."""
    line: bool = True
    """Whether a line is shown beside the marker."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Panels with their common legend and notes."""

    panels: tuple[Panel, ...]
    legend: tuple[tuple[Entry, ...], ...] = ()
    """Groups, each from a new line."""
    notes: tuple[str, ...] = ()
    """Paragraphs below."""
    one_scale: bool = False
    """Whether all panels have one y axis."""


def merged(first: Block, second: Block) -> Block:
    """Panels side by side; groups and notes that both have stand once."""
    return Block(
        panels=first.panels + second.panels,
        legend=tuple(dict.fromkeys(first.legend + second.legend)),
        notes=tuple(dict.fromkeys(first.notes + second.notes)),
    )
