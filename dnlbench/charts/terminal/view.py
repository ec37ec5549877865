"""The view of a chart as an immutable value, so that key and mouse actions can be tested without a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dnlbench.charts.terminal.scale import Frame, Scale

Bounds = tuple[float, float]
SMOOTHING_WEIGHTS = (0.0, 0.6, 0.9)
"""Smoothing weights in the order in which the key cycles through them."""
MIN_ZOOM = 1e-4
"""Smallest fraction of the full axis that zoom can show."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Zoom, scales, smoothing, cursor and hidden series of a chart."""

    log_x: bool | None = None
    """None for the scale of the chart."""
    log_y: bool | None = None
    smoothing: float = 0.0
    """Weight of the moving average, from 0 to 0.99."""
    x: Bounds | None = None
    """Zoomed range; None for everything."""
    y: Bounds | None = None
    """Zoomed range; None for everything within the range of x."""
    hidden: frozenset[str] = frozenset()
    """Keys of hidden series."""
    cursor: float | None = None
    """Position of the cursor on the x axis."""
    focus_series: str | None = None
    """Key of the selected series, which is drawn on top and which keys hide."""

    @property
    def is_zoomed(self) -> bool:
        return self.x is not None or self.y is not None

    def smoother(self) -> View:
        """Switch to the next of `SMOOTHING_WEIGHTS`."""
        return replace(self, smoothing=next((w for w in SMOOTHING_WEIGHTS if w > self.smoothing), SMOOTHING_WEIGHTS[0]))

    def zoomed(self, factor: float, *, about: float, shown: Frame, full_frame: Frame) -> View:
        """Zoom in along x (factor above 1) or out, with a fixed point at the fraction ``about`` of the axis.

        ``shown`` are the current axes, ``full_frame`` the axes without zoom.
        """
        return replace(self, x=_zoomed(shown.x, factor, about, full_frame.x))

    def zoomed_y(self, factor: float, *, about: float, shown: Frame, full_frame: Frame) -> View:
        return replace(self, y=_zoomed(shown.y, factor, about, full_frame.y))

    def panned(self, dx: float, dy: float, *, shown: Frame, full_frame: Frame) -> View:
        """Pan right and up by fractions of the visible range, within the full range. Axes without zoom stay."""
        return replace(
            self,
            x=None if self.x is None else _panned(shown.x, dx, full_frame.x),
            y=None if self.y is None else _panned(shown.y, dy, full_frame.y),
        )

    def reset(self) -> View:
        return View(focus_series=self.focus_series)

    def with_cursor(self, x: float | None) -> View:
        return replace(self, cursor=x)

    def with_focus(self, key: str | None) -> View:
        return replace(self, focus_series=key)

    def next_focus(self, keys: Iterable[str], step: int) -> View:
        """Select the next series (or the previous one), cyclically."""
        order = list(keys)
        if not order:
            return self.with_focus(None)
        if self.focus_series not in order:
            return self.with_focus(order[0 if step > 0 else -1])
        return self.with_focus(order[(order.index(self.focus_series) + step) % len(order)])

    def toggled(self, key: str) -> View:
        return replace(self, hidden=self.hidden ^ {key})

    def isolated(self, key: str, keys: Iterable[str]) -> View:
        """Show one series only, or all if it is already the only one."""
        others = frozenset(keys) - {key}
        return replace(self, hidden=frozenset() if self.hidden >= others and key not in self.hidden else others)


def _zoomed(scale: Scale, factor: float, about: float, full: Scale) -> Bounds | None:
    low, high = full.fraction(scale.low), full.fraction(scale.high)
    length = (high - low) / factor
    if not MIN_ZOOM <= length < 0.999:
        return None if length >= 0.999 else (scale.low, scale.high)
    middle = low + about * (high - low)
    return _within(full, middle - about * length, length)


def _panned(scale: Scale, step: float, full: Scale) -> Bounds:
    low, high = full.fraction(scale.low), full.fraction(scale.high)
    return _within(full, low + step * (high - low), high - low)


def _within(full: Scale, start: float, length: float) -> Bounds:
    start = max(0.0, min(1.0 - length, start)) if length <= 1 else start
    return full.value(start), full.value(start + length)
