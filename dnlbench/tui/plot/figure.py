"""What a chart shows, before it is known how large it will be and how it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.stats import Range

MARKS = "●▲■◆✚✖★▼◀▶"
"""One for each series, so that colour never stands alone."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the two axes."""

    label: str
    unit: str = ""
    """Empty for a pure number."""
    log: bool = False
    """Whether it is logarithmic unless the user says otherwise."""
    base: int = 10
    """Of the ticks of a logarithmic axis: 2 for depths that double."""
    range: Range = "any"
    """Where values can lie: a linear axis ends there."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve. ``x``, ``y``, ``low`` and ``high`` have one length; ``x`` increases."""

    key: str
    """Tells series of one figure apart, and stays the same as they grow: what was switched off stays off."""
    label: str
    x: Sequence[float]
    y: Sequence[float]
    """May hold NaN and infinities, which are marked where they occur."""
    low: Sequence[float] | None = None
    """Lower end of a band around ``y``; NaN where there is none."""
    high: Sequence[float] | None = None
    n: int | None = None
    """Seeds that it is the mean of; None where that means nothing."""
    colour: str = ""
    """As Textual and Rich parse it; empty: the foreground."""
    mark: str = ""
    """One character, for the legend and for its points."""
    points: bool = False
    """Whether each point is marked: few of them, such as depths."""
    dashed: bool = False
    """A fit, or a line to compare with."""
    faint: bool = False
    """In the background: single seeds behind their mean. Without a place in the legend."""
    behind: str = ""
    """Key of the series in whose background it is, with which it is switched off."""
    diverged: bool = False
    """Whether a run in it diverged or failed: its last point is marked ✗."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart's content."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str = ""
    """A line or two below: what a fit says."""
    empty: str = "nothing yet"
    """Said in its place while there is no point to show."""
