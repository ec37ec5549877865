"""The content of a chart: plain frozen data in the unit of its axes. It does not depend on where and how large it is drawn.

Which mean, which interval, which scale and how far a fit goes is decided by the builders. Renderers only draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.stats import Range

Scale = Literal["linear", "log"]
Ticks = Literal["number", "count", "percent", "integer", "depth"]
"""How an axis is labeled: plain numbers, decimal prefixes, percent, whole numbers, or the depths of the sweep."""
Role = Literal["mean", "run", "fit", "limit", "theory"]
"""``mean``: over seeds. ``run``: one seed, in the background. ``fit``: a fitted curve. ``limit``: the value at infinite depth,
a horizontal line of two points whose ``low`` and ``high`` are those of the limit: infinite where they are not known, NaN
where there is no interval. ``theory``: a line of the expected order, of which only the slope says something."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the two axes."""

    label: str
    unit: str = ""
    """Empty for a pure number."""
    scale: Scale = "linear"
    """Unless the user chooses the other one."""
    ticks: Ticks = "number"
    range: Range = "any"
    """Where values can lie: a linear axis ends there."""

    @property
    def text(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The meaning of a series. Renderers derive color, marker and dashes from it.

    Equal network and depth look alike in all profiles; the first profile is solid and filled, the others are dashed.
    """

    label: str = ""
    """The name without the profile: ``densenet``, ``L=4`` or ``densenet L=4``."""
    index: int = 0
    """Index among the networks and depths of the chart."""
    network: int = 0
    """Index of the network among those of all profiles."""
    depth: tuple[int, int] | None = None
    """Index of the depth, and the number of depths; None if the series runs over depths."""
    profile: int = 0


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve. ``x``, ``y``, ``low`` and ``high`` have one length; ``x`` increases."""

    key: str
    """Unique within the chart, and stable while a sweep is running."""
    label: str
    role: Role
    x: Sequence[float]
    y: Sequence[float]
    """May hold NaN and infinities, and values that a logarithmic axis cannot show."""
    low: Sequence[float] | None = None
    """Lower end of the interval around ``y``; NaN where there is none."""
    high: Sequence[float] | None = None
    n: int | None = None
    """Number of seeds in the mean; None if that means nothing."""
    identity: Identity = Identity()
    parent: str = ""
    """Key of the series that this one belongs to and is hidden with. Legends list the series without one."""
    points: bool = False
    """Mark each point, with intervals as bars: for few points, such as depths."""
    joined: bool = True
    """Join the points by lines."""
    failed: bool = False
    """Mark the last point: the run diverged or failed there. If its ``y`` is not finite, no value is known."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One pair of axes with what is drawn in them."""

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    subject: str = ""
    """The network, if the chart shows only one."""
    profiles: tuple[str, ...] = ()
    """``A: name and time`` of each profile; empty for a single one."""
    fits: tuple[str, ...] = ()
    """The results of the fits, and the reasons for missing ones; one line each."""
    notes: tuple[str, ...] = ()
    """How to read the chart, and what it cannot show; a sentence each."""
    empty: str = "no values yet"
    """Shown in place of the chart while there is no point."""
