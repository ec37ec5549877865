"""The effect of rounding alone, and verdicts that take it into account.

Training is chaotic: two runs whose first weights differ by one unit in the last place diverge from each other, by percents
after some epochs with an attention kernel. A *rounding twin* is a profile of the same sweep with ``train.nudge_ulps = 1``. Its
log ratios ``x_i`` to the reference, over the depths and seeds of a network, have mean 0, and

    s² = mean of x_i²,    bound(m) = exp(t_{0.975, n} s / √m) − 1

bounds the relative difference of a mean over ``m`` runs that rounding causes in 19 of 20 cases. Here n is the number of ratios
and t the quantile of Student's distribution with n degrees of freedom; `dnlbench.noise` has the same definition for throughput.
The bound replaces a smaller tolerance of the quantity:

- a ratio whose entire interval is within the bound is *no difference*;
- a ratio within the bound is neither *better* nor *worse*.

Profiles that differ only in their execution (pack size, threads, kind of device, implementation) compute the same function.
Their differences are rounding even without a twin, so no loss is better or worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dnlbench import units
from dnlbench.comparison.model import Cell, Comparison, Overall
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile
from dnlbench.stats.student import t_quantile
from dnlbench.studies import Study

Judged = TypeVar("Judged", Cell, Overall)

NUDGE = "spec train.nudge_ulps"
IMPLEMENTATION = "spec network.implementation"
_AXES = "spec sweep."
_NOT_EXECUTION = ("spec ", "code ", "workload ", "machine torch")
ONLY_EXECUTION = "only the execution differs, so the difference is rounding"


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """The spread that rounding causes in one quantity of one network."""

    spread: float
    """Root mean square of the log ratios."""
    n: int
    """Number of ratios."""

    def bound(self, runs: int) -> float:
        """Return the bound of the relative difference of a mean over ``runs`` runs, which holds in 19 of 20 cases."""
        return math.expm1(t_quantile(self.n) * self.spread / math.sqrt(runs))


Roundings = Mapping[tuple[str, str], Rounding]
"""The spread of rounding by quantity and network."""


def measure_rounding(twin: Comparison) -> Roundings:
    """Compute the spread of rounding from the comparison of a rounding twin with its reference.

    Raises:
        NotComparableError: if anything but the nudge and the sweep's axes differs.
    """
    differing = [d.what for d in twin.differences if d.what.startswith(_NOT_EXECUTION)]
    if NUDGE not in differing:
        raise NotComparableError(
            "not a rounding twin: train.nudge_ulps is equal in both profiles; run the twin with --set train.nudge_ulps=1"
        )
    if others := [what for what in differing if what != NUDGE and not what.startswith(_AXES)]:
        raise NotComparableError(
            f"not a rounding twin: it also differs in {', '.join(others)}; only train.nudge_ulps may differ"
        )
    logs: dict[tuple[str, str], list[float]] = {}
    for cell in twin.cells:
        if not cell.quantity.hardware_dependent:
            key = cell.quantity.name, cell.network
            logs.setdefault(key, []).extend(math.log(ratio) for _, ratio in cell.ratios if ratio > 0)
    return {
        key: Rounding(spread=math.sqrt(math.fsum(x * x for x in values) / len(values)), n=len(values))
        for key, values in logs.items()
        if values
    }


def rounding_lines(roundings: Roundings, study: Study) -> Iterator[str]:
    """Yield a line for each quantity with the rounding bound of one run of each network."""
    for quantity in study.quantities:
        moved = [
            f"{network} {units.percent(rounding.bound(1))}"
            for (name, network), rounding in roundings.items()
            if name == quantity.name
        ]
        if moved:
            yield f"rounding changes the {quantity.label} of a run by up to: {', '.join(moved)}"


def rounding_floors(comparison: Comparison, roundings: Roundings) -> dict[str, float]:
    """Return the largest bound of any network by quantity; gates raise smaller tolerances to it."""
    floors: dict[str, float] = {}
    for overall in comparison.overall:
        if rounding := roundings.get((overall.quantity.name, overall.network)):
            bound = rounding.bound(max(1, len(overall.depths) * len(overall.seeds)))
            floors[overall.quantity.name] = max(bound, floors.get(overall.quantity.name, 0.0))
    return floors


def largest_of(floors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the largest of several floors by quantity."""
    return {name: max(each.get(name, 0.0) for each in floors) for name in {name for each in floors for name in each}}


def allow_rounding(comparison: Comparison, roundings: Roundings) -> Comparison:
    """Return the comparison with verdicts that take rounding into account."""

    def adjusted(judged: Judged, runs: int) -> Judged:
        quantity, ratio = judged.quantity, judged.ratio
        rounding = roundings.get((quantity.name, judged.network))
        if rounding is None or ratio is None or not runs or (bound := rounding.bound(runs)) <= quantity.tolerance:
            return judged
        moved = f"rounding alone changes it by up to {units.percent(bound)}"
        if judged.verdict == "inconclusive" and _within(bound, ratio.low, ratio.high):
            return replace(judged, verdict="no difference", reason=moved)
        if judged.verdict in ("better", "worse") and _within(bound, ratio.estimate):
            return replace(judged, verdict="inconclusive", reason=moved)
        return judged

    failed = {(run.network, run.depth) for run in comparison.new_failures}
    cells = (c if (c.network, c.depth) in failed else adjusted(c, len(c.ratios)) for c in comparison.cells)
    networks = {network for network, _ in failed}
    overall = (f if f.network in networks else adjusted(f, len(f.depths) * len(f.seeds)) for f in comparison.overall)
    return replace(comparison, cells=tuple(cells), overall=tuple(overall))


def allow_other_execution(comparison: Comparison, reference: Profile, candidate: Profile) -> Comparison:
    """Return the comparison; if only the execution differs, no loss is better or worse."""
    others = [
        d.what for d in comparison.differences if d.what.startswith(_NOT_EXECUTION) and not d.what.startswith(_AXES)
    ]
    if set(others) - {IMPLEMENTATION} or not (others or _execution(reference) != _execution(candidate)):
        return comparison

    def adjusted(judged: Judged) -> Judged:
        differs = (
            judged.verdict in ("better", "worse")
            and not judged.quantity.hardware_dependent
            and not comparison.new_failures
        )
        return replace(judged, verdict="inconclusive", reason=ONLY_EXECUTION) if differs else judged

    return replace(
        comparison, cells=tuple(map(adjusted, comparison.cells)), overall=tuple(map(adjusted, comparison.overall))
    )


def _execution(profile: Profile) -> set[tuple[object, ...]]:
    return {
        (run.pack_size, run.threads, (run.device or "").partition(":")[0]) for run in profile.runs if run.status == "ok"
    }


def _within(bound: float, *ratios: float | None) -> bool:
    return all(ratio is not None and 1 / (1 + bound) <= ratio <= 1 + bound for ratio in ratios)
