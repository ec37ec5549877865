"""What gradients at initialization say of each network, in sentences, and which networks never learned.

A gradient *explodes* with depth if its norm more than doubles with each doubling of depth, on average from the smallest to the
largest depth: that is faster than depth itself grows. Independent of that, the gradient of the first block over that of the
last, at the largest depth, shows an explosion (above 10) or a vanishing gradient (below 1/10) on the way back. Both are
conventions, and are printed with the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dnlbench.profiles import PointSummary, Profile, never_learned_text, runs_that_never_learned
from dnlbench.studies import STUDIES, Point, Quantity

GROWTH = 2.0
"""Factor for each doubling of depth above which a gradient explodes."""
MUCH = 10.0
"""Factor between first and last block."""
RULE = f"explodes: more than {GROWTH:g} times for each doubling of L; much larger or smaller: by a factor of {MUCH:g} or more"


def stability_sentences(profile: Profile, shown: Sequence[Quantity]) -> Iterator[str]:
    """For each network how its gradient at initialization depends on depth, and the rule; nothing if it is not shown."""
    declared = STUDIES[profile.study].stability
    if declared is None or declared.norm not in [quantity.name for quantity in shown]:
        return
    measured = [point for point in profile.summary.points if declared.norm in point.quantities]
    for network in dict.fromkeys(point.network for point in measured):
        points = sorted((p for p in measured if p.network == network), key=lambda point: point.depth)
        if len(points) > 1:
            yield f"{network}: {_growth(points, declared.norm)}{_ratio(points[-1], declared.ratio)}"
    yield RULE


def _growth(points: Sequence[PointSummary], name: str) -> str:
    first, last = points[0], points[-1]
    start, end = first.quantities[name].mean, last.quantities[name].mean
    span = f"from {_short(start)} at L = {first.depth} to {_short(end)} at L = {last.depth}"
    if not start > 0 or not math.isfinite(end) or end <= 0:
        return f"the gradient at initialization goes {span}"
    factor = (end / start) ** (1 / math.log2(last.depth / first.depth))
    verb = "grows" if end >= start else "falls"
    what = f"the gradient at initialization {verb} {span}, {_short(factor)} times for each doubling"
    return f"{what}: it explodes" if factor > GROWTH else f"{what}: it does not explode"


def _ratio(deepest: PointSummary, name: str) -> str:
    record = deepest.quantities.get(name)
    if record is None or 1 / MUCH < record.mean < MUCH:
        return ""
    if record.mean >= MUCH:
        return f"; at L = {deepest.depth} that of the first block is {_short(record.mean)} times that of the last, much larger"
    return (
        f"; at L = {deepest.depth} that of the first block is {_short(record.mean)} times that of the last: it vanishes"
    )


def never_learned_sentences(profile: Profile) -> Iterator[str]:
    """One for each network and depth."""
    classes = profile.data.classes
    found: dict[Point, list[float]] = {}
    for run, loss in runs_that_never_learned(profile.runs, classes):
        found.setdefault(run.point, []).append(loss)
    for point, losses in found.items():
        ok = sum(run.point == point and run.status == "ok" for run in profile.runs)
        yield f"{point.network} at L = {point.depth}: {never_learned_text(losses, ok, classes)}"


def _short(value: float) -> str:
    """Three significant digits, whole numbers from 1,000 to 10,000."""
    return f"{value:.0f}" if 1e3 <= value < 1e4 else f"{value:.3g}"
