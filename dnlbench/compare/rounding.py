"""What rounding alone moves, and verdicts that do not contradict it.

Training is chaotic: two runs whose first weights differ by one unit in the last place come apart, by percents after some
epochs where the kernel is attention. A *rounding twin* is a profile of the same sweep with ``train.nudge_ulps = 1``. Its
log-ratios ``x_i`` to the reference, over the depths and seeds of a network, have mean 0, and

    s² = mean of x_i²,    bound(m) = exp(t_{0.975, n} s / √m) − 1

is the relative difference that rounding keeps a mean over ``m`` runs below in 19 of 20 cases, with n the number of ratios and
t the quantile of Student's distribution with n degrees of freedom; `dnlbench.noise` has the same definition for throughput.
The bound is a network's tolerance where it is larger than the quantity's:

- a ratio whose whole interval is within it is *no difference*;
- a ratio that is itself within it is neither *better* nor *worse*.

Profiles that differ only in how they were executed (pack size, threads, kind of device, implementation) compute the same
function. What differs is rounding even without a twin, and no loss is better or worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dnlbench import units
from dnlbench.compare.model import Cell, Comparison, Overall
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.stats.student import t_quantile
from dnlbench.studies import STUDIES

Judged = TypeVar("Judged", Cell, Overall)

NUDGE = "spec train.nudge_ulps"
IMPLEMENTATION = "spec network.implementation"
_AXES = "spec sweep."
_NOT_EXECUTION = ("spec ", "code ", "workload ", "machine torch")
ONLY_EXECUTION = "only the execution differs, so this is rounding"


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How far one quantity of one network is moved by rounding."""

    spread: float
    """Root mean square of the log-ratios."""
    n: int
    """Their number."""

    def bound(self, runs: int) -> float:
        """The relative difference that a mean over so many runs stays below in 19 of 20 cases."""
        return math.expm1(t_quantile(self.n) * self.spread / math.sqrt(runs))


Roundings = Mapping[tuple[str, str], Rounding]
"""By quantity and network."""


def measure_rounding(twin: Comparison) -> Roundings:
    """What the comparison of a rounding twin with its reference says.

    Raises:
        NotComparableError: if anything but the nudge and the sweep's axes differs.
    """
    differing = [d.what for d in twin.differences if d.what.startswith(_NOT_EXECUTION)]
    if NUDGE not in differing:
        raise NotComparableError(
            "not a rounding twin: train.nudge_ulps is the same; run it with --set train.nudge_ulps=1"
        )
    if others := [what for what in differing if what != NUDGE and not what.startswith(_AXES)]:
        raise NotComparableError(f"not a rounding twin: more than train.nudge_ulps differs: {', '.join(others)}")
    logs: dict[tuple[str, str], list[float]] = {}
    for cell in twin.cells:
        if not cell.quantity.hardware_dependent:
            place = cell.quantity.name, cell.network
            logs.setdefault(place, []).extend(math.log(ratio) for _, ratio in cell.ratios if ratio > 0)
    return {
        place: Rounding(spread=math.sqrt(math.fsum(x * x for x in found) / len(found)), n=len(found))
        for place, found in logs.items()
        if found
    }


def rounding_lines(roundings: Roundings, study: str) -> Iterator[str]:
    """A line for each quantity: what rounding keeps one run of each network below."""
    for quantity in STUDIES[study].quantities:
        moved = [
            f"{network} {units.percent(rounding.bound(1))}"
            for (name, network), rounding in roundings.items()
            if name == quantity.name
        ]
        if moved:
            yield f"rounding moves the {quantity.label} of a run by up to: {', '.join(moved)}"


def rounding_floors(comparison: Comparison, roundings: Roundings) -> dict[str, float]:
    """By quantity, the largest bound of any network's figure over all depths: no gate's tolerance is smaller."""
    floors: dict[str, float] = {}
    for figure in comparison.overall:
        if found := roundings.get((figure.quantity.name, figure.network)):
            bound = found.bound(max(1, len(figure.depths) * len(figure.seeds)))
            floors[figure.quantity.name] = max(bound, floors.get(figure.quantity.name, 0.0))
    return floors


def largest_of(floors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By quantity, the largest of several floors."""
    return {name: max(each.get(name, 0.0) for each in floors) for name in {name for each in floors for name in each}}


def allow_rounding(comparison: Comparison, roundings: Roundings) -> Comparison:
    """The same comparison, with verdicts that do not take rounding for a difference."""

    def judged(found: Judged, runs: int) -> Judged:
        quantity, ratio = found.quantity, found.ratio
        rounding = roundings.get((quantity.name, found.network))
        if rounding is None or ratio is None or not runs or (bound := rounding.bound(runs)) <= quantity.tolerance:
            return found
        moved = f"rounding alone moves it by up to {units.percent(bound)}"
        if found.verdict == "inconclusive" and _within(bound, ratio.low, ratio.high):
            return replace(found, verdict="no difference", reason=moved)
        if found.verdict in ("better", "worse") and _within(bound, ratio.estimate):
            return replace(found, verdict="inconclusive", reason=moved)
        return found

    failed = {(run.network, run.depth) for run in comparison.new_failures}
    cells = (c if (c.network, c.depth) in failed else judged(c, len(c.ratios)) for c in comparison.cells)
    networks = {network for network, _ in failed}
    figures = (f if f.network in networks else judged(f, len(f.depths) * len(f.seeds)) for f in comparison.overall)
    return replace(comparison, cells=tuple(cells), overall=tuple(figures))


def allow_other_execution(comparison: Comparison, reference: Profile, candidate: Profile) -> Comparison:
    """The same comparison; where nothing but the execution differs, no loss is better or worse."""
    others = [
        d.what for d in comparison.differences if d.what.startswith(_NOT_EXECUTION) and not d.what.startswith(_AXES)
    ]
    if set(others) - {IMPLEMENTATION} or not (others or _execution(reference) != _execution(candidate)):
        return comparison

    def judged(found: Judged) -> Judged:
        differs = (
            found.verdict in ("better", "worse")
            and not found.quantity.hardware_dependent
            and not comparison.new_failures
        )
        return replace(found, verdict="inconclusive", reason=ONLY_EXECUTION) if differs else found

    return replace(
        comparison, cells=tuple(map(judged, comparison.cells)), overall=tuple(map(judged, comparison.overall))
    )


def _execution(profile: Profile) -> set[tuple[object, ...]]:
    return {
        (run.pack_size, run.threads, (run.device or "").partition(":")[0]) for run in profile.runs if run.status == "ok"
    }


def _within(bound: float, *ratios: float | None) -> bool:
    return all(ratio is not None and 1 / (1 + bound) <= ratio <= 1 + bound for ratio in ratios)
