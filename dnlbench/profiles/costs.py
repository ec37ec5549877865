"""What depth costs: the exponents of ``cost ≈ c · L^q`` of a study's costs, of each network.

The slope is that over the three largest depths, as in `dnlbench.stats.fit_exponent`: what a run costs at any depth hides the
growth at small ones, so a line through all depths would say too little of the depths that come next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dnlbench.profiles.hardware import single
from dnlbench.profiles.model import CostRecord, RunRecord
from dnlbench.profiles.values import CURRENT, Method, values_of
from dnlbench.stats import fit_exponent, mean_interval
from dnlbench.studies import Cost, Quantity, Study

MOST_DEPTHS = 3
_EXECUTION = ("threads", "jobs", "shared_device", "pack_size")


def fit_cost(
    network: str, runs: Sequence[RunRecord], cost: Cost, study: Study, method: Method = CURRENT
) -> CostRecord | None:
    """The exponent of one cost of one network, a slope for each seed; the reason where there is none.

    Only runs that were carried out alike say something about depth alone; those of the commonest execution count. A seed counts
    that has a value at each of the depths; the seeds of a pack, which share its measurements, count once.

    Returns:
        None where no run has a value at all.
    """
    quantity = next(quantity for quantity in study.quantities if quantity.name == cost.quantity)
    valued = [run for run in runs if values_of([run], quantity)]
    if not valued:
        return None
    alike = _alike(valued)
    left_out = len(valued) - len(alike)
    curves = _costs_by_seed(alike, quantity, cost, method)
    depths = tuple(sorted({depth for curve in curves.values() for depth in curve})[-MOST_DEPTHS:])
    start = {"network": network, "quantity": cost.quantity, "depths": depths, "left_out": left_out}
    if len(depths) < 2:
        apart = f"; {left_out} runs were carried out otherwise and are not comparable" if left_out else ""
        return CostRecord(**start, problem=f"an exponent needs at least 2 depths, not {len(depths)}{apart}")
    complete = [curve for curve in curves.values() if all(depth in curve for depth in depths)]
    if not complete:
        return CostRecord(**start, problem="no seed has a finished run at every depth")
    mean = mean_interval([fit_exponent(depths, [curve[depth] for depth in depths]) for curve in complete])
    return CostRecord(**start, exponent=mean.estimate, exponent_low=mean.low, exponent_high=mean.high, n=mean.n)


def _alike(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Those of the commonest execution; of equally common ones the first. A run that moved was not carried out in one way."""
    stayed = [(run, hardware) for run in runs if (hardware := single(run)) is not None]
    executions = [(hardware, *(getattr(run, fact) for fact in _EXECUTION)) for run, hardware in stayed]
    if not executions:
        return []
    ((commonest, _),) = Counter(executions).most_common(1)
    return [run for (run, _), execution in zip(stayed, executions, strict=True) if execution == commonest]


def _costs_by_seed(
    runs: Sequence[RunRecord], quantity: Quantity, cost: Cost, method: Method
) -> dict[int, Mapping[int, float]]:
    """The cost by depth of each seed; a value that is not positive is none."""
    curves: dict[int, dict[int, float]] = {}
    for depth in dict.fromkeys(run.depth for run in runs):
        for seed, value in values_of([run for run in runs if run.depth == depth], quantity, method).items():
            if value > 0:
                curves.setdefault(seed, {})[depth] = 1 / value if cost.inverse else value
    return dict(curves)
