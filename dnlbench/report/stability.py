"""Sentences on the stability of networks: gradients at initialization, and networks that never learned.

A gradient *explodes* with depth if its norm more than doubles per doubling of depth, averaged from the smallest to the
largest depth, that is, if it grows faster than depth itself. Independently, the ratio of the gradients of the first and the
last block at the largest depth shows an exploding (above 10) or vanishing gradient (below 1/10) in the backward pass. Both
thresholds are conventions, which reports print.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench.profiles import PointSummary, Profile, never_learned_text, runs_that_never_learned
from dnlbench.studies import Point, Quantity

GROWTH = 2.0
"""Factor per doubling of depth above which a gradient explodes."""
LARGE_RATIO = 10.0
"""Ratio of the gradients of the first and the last block above which it counts as much larger, and below its inverse as
vanishing."""
RULE = (
    f"explodes: grows more than {GROWTH:g} times per doubling of L; much larger: {LARGE_RATIO:g} times or more; "
    f"vanishes: 1/{LARGE_RATIO:g} or less"
)


def stability_sentences(profile: Profile, shown: Sequence[Quantity]) -> Iterator[str]:
    """Yield how the gradient at initialization of each network depends on depth, and the rule, if the norm is shown."""
    declared = profile.declared.stability
    if declared is None or declared.norm not in [quantity.name for quantity in shown]:
        return
    measured = [point for point in profile.summary.points if declared.norm in point.quantities]
    for network in dict.fromkeys(point.series for point in measured):
        points = sorted((p for p in measured if p.series == network), key=lambda point: point.depth)
        if len(points) > 1:
            yield f"{network}: {_growth(points, declared.norm)}{_ratio(points[-1], declared.ratio)}"
    yield RULE


def _growth(points: Sequence[PointSummary], name: str) -> str:
    first, last = points[0], points[-1]
    start, end = first.quantities[name].mean, last.quantities[name].mean
    span = f"from {_short(start)} at L = {first.depth} to {_short(end)} at L = {last.depth}"
    if not start > 0 or not math.isfinite(end) or end <= 0:
        return f"the gradient at initialization changes {span}"
    factor = (end / start) ** (1 / math.log2(last.depth / first.depth))
    verb = "grows" if end >= start else "falls"
    text = f"the gradient at initialization {verb} {span}, by a factor of {_short(factor)} per doubling"
    return f"{text}: it explodes" if factor > GROWTH else f"{text}: it does not explode"


def _ratio(deepest: PointSummary, name: str) -> str:
    record = deepest.quantities.get(name)
    if record is None or 1 / LARGE_RATIO < record.mean < LARGE_RATIO:
        return ""
    text = f"; at L = {deepest.depth} the gradient of the first block is {_short(record.mean)} times that of the last"
    return f"{text}, much larger" if record.mean >= LARGE_RATIO else f"{text}: it vanishes"


def never_learned_sentences(profile: Profile) -> Iterator[str]:
    """Yield a sentence for each network and depth with runs that never learned."""
    classes = profile.data.choices if profile.declared.has_chance_level else None
    losses_by_point: dict[Point, list[float]] = {}
    for run, loss in runs_that_never_learned(profile.runs, classes):
        losses_by_point.setdefault(run.point, []).append(loss)
    for point, losses in losses_by_point.items():
        ok = sum(run.point == point and run.status == "ok" for run in profile.runs)
        yield f"{point.series} at L = {point.depth}: {never_learned_text(losses, ok, classes)}"


def _short(value: float) -> str:
    """Format three significant digits; integers from 1,000 to 10,000."""
    return f"{value:.0f}" if 1e3 <= value < 1e4 else f"{value:.3g}"
