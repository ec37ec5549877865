"""The curves that a figure shows in a view: what is visible, smoothed, from the back to the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.tui.plot.figure import Figure, Series
from dnlbench.tui.plot.smooth import smoothed
from dnlbench.tui.plot.view import View


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Something to draw."""

    series: Series
    place: int
    """Of the series in the figure."""
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """Empty, as ``high``, without a band."""
    high: Sequence[float] = ()
    faint: bool = False
    bold: bool = False
    marked: bool = False
    """Whether it is the one that carries the series' marks."""


def visible(figure: Figure, view: View) -> list[Series]:
    """Series that are not switched off."""
    return [each for each in figure.series if not {each.key, each.behind} & view.hidden]


def in_legend(figure: Figure) -> list[Series]:
    """Series that can be chosen and switched off."""
    return [each for each in figure.series if not each.faint]


def curves(figure: Figure, view: View) -> list[Curve]:
    """What is drawn, in this order: faint ones, lines to compare with, the others, and on top the one that is chosen."""
    places = {id(series): place for place, series in enumerate(figure.series)}
    ordered = sorted(visible(figure, view), key=lambda s: (s.key == view.focus_series, not s.faint, not s.dashed))
    return [curve for series in ordered for curve in _of_series(series, places[id(series)], view)]


def smoothing_of(series: Series, view: View) -> float:
    """Weight of its smoothing: neither a few measured points nor a fit is smoothed."""
    is_fit = series.dashed and series.n is None
    return 0.0 if series.points or is_fit or series.faint else min(0.99, max(0.0, view.smoothing))


def _of_series(series: Series, place: int, view: View) -> list[Curve]:
    x, y, low, high = _columns(series)
    weight = smoothing_of(series, view)
    chosen = series.key == view.focus_series
    if not weight:
        band = {"low": low, "high": high}
        return [
            Curve(
                series=series, place=place, x=x, y=y, faint=series.faint, bold=chosen, marked=not series.faint, **band
            )
        ]
    raw = Curve(series=series, place=place, x=x, y=y, low=low, high=high, faint=True)
    return [raw, Curve(series=series, place=place, x=x, y=smoothed(y, weight), bold=True, marked=True)]


def _columns(series: Series) -> tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]:
    """x, y, low and high of the points that have an x."""
    count = min(len(series.x), len(series.y))
    has_band = series.low is not None and series.high is not None and min(len(series.low), len(series.high)) >= count
    low = series.low if has_band and series.low is not None else ()
    high = series.high if has_band and series.high is not None else ()
    if len(series.x) == len(series.y) and all(map(math.isfinite, series.x)):
        return series.x, series.y, low, high
    kept = [index for index in range(count) if math.isfinite(series.x[index])]
    x, y = [series.x[index] for index in kept], [series.y[index] for index in kept]
    return x, y, [low[index] for index in kept] if low else (), [high[index] for index in kept] if high else ()
