"""Chart data: plain frozen values in the units of the axes, independent of renderer and size.

Builders choose the mean, the interval, the scale and the extent of fits. Renderers only draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.stats import Range

Scale = Literal["linear", "log"]
Ticks = Literal["number", "count", "percent", "integer", "depth"]
"""Label style of an axis: plain numbers, decimal prefixes, percent, integers, or the depths of the sweep."""
Role = Literal["mean", "run", "fit", "limit", "theory", "front"]
"""The meaning of a series.

``mean``: the mean over seeds. ``run``: one seed, in the background. ``fit``: a fitted curve. ``limit``: the value at infinite
depth, a horizontal line of two points; ``low`` and ``high`` are the interval of the limit, infinite if unknown, NaN without
an interval. ``theory``: a line with the expected order; only its slope is meaningful. ``front``: the line through the best
points of all series."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The x or y axis."""

    label: str
    unit: str = ""
    """Empty for a pure number."""
    scale: Scale = "linear"
    """The default scale; the user may choose the other one."""
    ticks: Ticks = "number"
    range: Range = "any"
    """The range of possible values; a linear axis ends there."""

    @property
    def text(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The network, depth and profile of a series, from which renderers derive color, marker and dashes.

    A network and depth have the same style in all profiles. The first profile is solid and filled, the others are dashed.
    """

    label: str = ""
    """The name without the profile: ``densenet``, ``L=4`` or ``densenet L=4``."""
    index: int = 0
    """Index among the networks and depths of the chart."""
    network: int = 0
    """Index among the networks of all profiles."""
    depth: tuple[int, int] | None = None
    """Index of the depth and the number of depths; None for a series over depths."""
    profile: int = 0


@dataclass(frozen=True, kw_only=True)
class Series:
    """A curve. ``x``, ``y``, ``low`` and ``high`` have the same length; ``x`` increases."""

    key: str
    """Unique in the chart, and stable while a sweep is running."""
    label: str
    role: Role
    x: Sequence[float]
    y: Sequence[float]
    """May contain NaN, infinities, and values that a logarithmic axis cannot show."""
    low: Sequence[float] | None = None
    """Lower bound of the interval around ``y``; NaN if there is none."""
    high: Sequence[float] | None = None
    n: int | None = None
    """Number of seeds in the mean; None if not applicable."""
    identity: Identity = Identity()
    parent: str = ""
    """Key of the series that this one is hidden with. Legends list series without a parent."""
    points: bool = False
    """Mark each point and draw intervals as bars. Suits few points, such as depths."""
    joined: bool = True
    """Connect the points with lines."""
    names: Sequence[str] = ()
    """Short names of the points, such as depths, drawn beside them. Empty: none."""
    failed: bool = False
    """Mark the last point, where the run diverged or failed. No value is known if its ``y`` is not finite."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A pair of axes with the series drawn in them."""

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    subject: str = ""
    """The network, if the chart shows a single one."""
    profiles: tuple[str, ...] = ()
    """``A: name and time`` of each profile; empty for a single one."""
    fits: tuple[str, ...] = ()
    """Results of fits and reasons for missing fits, one line each."""
    notes: tuple[str, ...] = ()
    """Notes on how to read the chart and what it cannot show, one sentence each."""
    empty: str = "no values yet"
    """Text shown instead of the chart while it has no points."""
