"""The cost of depth: the exponent of ``cost ≈ c · L^q`` for each cost of a study and each network.

The slope is that over the three largest depths, see `dnlbench.stats.fit_exponent`. Costs that do not depend on depth hide the
growth at small depths, so a line through all depths would underestimate the cost of the next ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dnlbench.profiles.hardware import single
from dnlbench.profiles.model import CostRecord, RunRecord
from dnlbench.profiles.values import CURRENT, Method, series_of, values_of
from dnlbench.stats import fit_exponent, mean_interval
from dnlbench.studies import Cost, Quantity, Study

MOST_DEPTHS = 3
_EXECUTION = ("threads", "jobs", "shared_device", "pack_size")


def fit_cost(runs: Sequence[RunRecord], cost: Cost, study: Study, method: Method = CURRENT) -> CostRecord | None:
    """Fit the exponent of one cost of one series: the mean of the slopes of the seeds.

    Only runs with the most common execution (hardware, threads, concurrent runs, pack size) count. A seed counts if it has a
    value at each of the depths. The seeds of a pack share its measurements and count once.

    Returns:
        The exponent, or the reason for a missing one. None if no run has a value.
    """
    quantity = next(quantity for quantity in study.quantities if quantity.name == cost.quantity)
    valued = [run for run in runs if values_of([run], quantity)]
    if not valued:
        return None
    alike = _alike(valued)
    left_out = len(valued) - len(alike)
    curves = _costs_by_seed(alike, quantity, cost, method)
    depths = tuple(sorted({depth for curve in curves.values() for depth in curve})[-MOST_DEPTHS:])
    start: dict[str, Any] = {**series_of(runs), "quantity": cost.quantity, "depths": depths, "left_out": left_out}
    if len(depths) < 2:
        apart = f"; {left_out} runs ran under other conditions and are not comparable" if left_out else ""
        return CostRecord(**start, problem=f"an exponent needs at least 2 depths, not {len(depths)}{apart}")
    complete = [curve for curve in curves.values() if all(depth in curve for depth in depths)]
    if not complete:
        return CostRecord(**start, problem="no seed has a finished run at every depth")
    mean = mean_interval([fit_exponent(depths, [curve[depth] for depth in depths]) for curve in complete])
    return CostRecord(**start, exponent=mean.estimate, exponent_low=mean.low, exponent_high=mean.high, n=mean.n)


def _alike(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs of the most common execution, in a tie of the first one. Runs that moved are excluded."""
    stayed = [(run, hardware) for run in runs if (hardware := single(run)) is not None]
    executions = [(hardware, *(getattr(run, field) for field in _EXECUTION)) for run, hardware in stayed]
    if not executions:
        return []
    ((commonest, _),) = Counter(executions).most_common(1)
    return [run for (run, _), execution in zip(stayed, executions, strict=True) if execution == commonest]


def _costs_by_seed(
    runs: Sequence[RunRecord], quantity: Quantity, cost: Cost, method: Method
) -> dict[int, Mapping[int, float]]:
    """Return the cost by depth of each seed, without values that are not positive."""
    curves: dict[int, dict[int, float]] = {}
    for depth in dict.fromkeys(run.depth for run in runs):
        for seed, value in values_of([run for run in runs if run.depth == depth], quantity, method).items():
            if value > 0:
                curves.setdefault(seed, {})[depth] = 1 / value if cost.inverse else value
    return dict(curves)
