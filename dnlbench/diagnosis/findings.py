"""Findings: the metrics of a network in terms of the theories, in a few lines.

The thresholds are conventions and stated in each line. An order counts as 1 if its 95 % interval over seeds, in two decimals,
contains 1 and lies above 0.5, the order of layers that are independent of each other. It counts as faster or slower if the
interval lies above or below 1. If the interval contains both 1 and 0.5, no conclusion is drawn. Values "fall" if the interval
is above 0, and "hardly change" if it is within 0.1 of 0. Parameters count as rough from half of ``√2`` on, the difference of
independent layers. Gradients vanish or explode by a factor of 10 or more, in training mode, with respect to states or to
parameters. A single seed and too few depths or layers allow no conclusion. Networks that never learned, see
`dnlbench.profiles.never_learned`, are named and excluded from all fits and findings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from dnlbench import units
from dnlbench.architecture import ARCHITECTURES
from dnlbench.diagnosis.model import DiagnosedPoint, OrderRecord, RunMetrics
from dnlbench.profiles import never_learned_text

UNRELATED = math.sqrt(2)
"""Relative consecutive differences of independent parameters of equal size."""
ROUGH = UNRELATED / 2
UNRELATED_ORDER = 0.5
"""The order of independent layers: sums of independent steps stay bounded for steps like L^-0.5."""
HARDLY = 0.1
"""An order with its interval within this of 0 counts as no change."""
MUCH = 10.0
"""The factor from which gradients count as vanishing or exploding."""

Speed = Literal["one", "faster", "slower", "open"]
"""The decrease of values with L compared with 1/L; ``open``: the interval contains both 1 and much lower orders."""
OrderFits = Mapping[tuple[str, str], OrderRecord]
"""Order records by quantity and variable, ``L`` or ``l``."""


def never_learned_findings(runs: Sequence[RunMetrics], classes: int | None) -> dict[str, tuple[str, ...]]:
    """Return, by network, a line for each depth at which runs never learned."""
    lines: dict[str, tuple[str, ...]] = {}
    for network, depth in dict.fromkeys((run.network, run.depth) for run in runs if run.never_learned):
        group = [run for run in runs if (run.network, run.depth) == (network, depth)]
        losses = [run.training.loss for run in group if run.never_learned and run.training is not None]
        line = f"L={depth}: {never_learned_text(losses, len(group), classes)}"
        lines[network] = (*lines.get(network, ()), line)
    return lines


def findings_of(
    points: Sequence[DiagnosedPoint],
    fits: Sequence[OrderRecord],
    never_learned: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> dict[str, tuple[str, ...]]:
    """Return the findings by network from runs that learned, after the lines on those that ``never_learned``."""
    lines = dict(never_learned)
    for network in dict.fromkeys(point.network for point in points):
        deepest = max((point for point in points if point.network == network), key=lambda point: point.depth)
        by_key: dict[tuple[str, str], OrderRecord] = {
            (fit.quantity, fit.along): fit for fit in fits if fit.network == network
        }
        lines[network] = (*lines.get(network, ()), *_findings(deepest, by_key))
    return lines


def _findings(deepest: DiagnosedPoint, fits: OrderFits) -> Iterator[str]:
    if "state_step" in deepest.quantities:
        yield _of_states(deepest, fits)
    if "roughness" in deepest.quantities:
        yield _of_parameters(deepest, fits)
    if "map_distance" in deepest.quantities:
        dense = deepest.network in ARCHITECTURES and ARCHITECTURES[deepest.network].dense
        yield _of_dense_maps(deepest, fits) if dense else _of_maps(deepest, fits)
    if "gradient_ratio" in deepest.quantities:
        yield _of_gradients(deepest)


def _of_states(deepest: DiagnosedPoint, fits: OrderFits) -> str:
    fit = fits["state_step", "L"]
    limit = _against_one(
        fit,
        one="consistent with a continuous limit",
        faster="faster than a continuous limit predicts",
        slower="slower than a continuous limit, L^−1",
    )
    return f"states: differences are {_value(deepest, 'state_step')} of a state at L={deepest.depth}; {limit}"


def _of_parameters(deepest: DiagnosedPoint, fits: OrderFits) -> str:
    fit, size = fits["roughness", "L"], deepest.quantities["roughness"].mean
    value = _value(deepest, "roughness")
    start = f"parameters: differences are {value} of their size at L={deepest.depth} (1.41: unrelated layers)"
    if fit.low is None or fit.high is None:
        return f"{start}; {_order(fit)}"
    if size >= ROUGH and fit.high < 1:
        return f"{start}; {_order(fit)}: far from the smooth regime that the regularizer enforces"
    speed = _speed(fit.low, fit.high)
    if size < ROUGH and speed in ("one", "faster"):
        return f"{start}; {_order(fit)}: {'like' if speed == 'one' else 'faster than'} samples of smooth curves"
    return f"{start}; {_order(fit)}: neither clearly smooth nor clearly rough"


def _of_maps(deepest: DiagnosedPoint, fits: OrderFits) -> str:
    """Test the two conditions on deep ReLU networks: ``P_n → 0`` in depth, and a finite sum of ``‖P_n‖``."""
    fit, along = fits["map_distance", "L"], fits["map_distance", "l"]
    start = f"maps: layers are {_value(deepest, 'map_distance')} from the identity at L={deepest.depth}"
    summed = _against_one(
        fit,
        one="so their sum over L layers stays bounded",
        faster="so their sum over L layers falls",
        slower="so their sum over L layers grows",
    )
    return f"{start}; {summed}; along the layers they {_through(along)}"


def _of_dense_maps(deepest: DiagnosedPoint, fits: OrderFits) -> str:
    fit = fits["map_distance", "L"]
    start = (
        f"maps: the derivative of the next state by the last is {_value(deepest, 'map_distance')} at L={deepest.depth}"
    )
    judged = _against_one(
        fit,
        one="like the integrand of a continuous limit",
        faster="faster than the integrand of a continuous limit",
        slower="slower than the integrand of a continuous limit, O(1/L)",
    )
    return f"{start}; {judged}"


def _of_gradients(deepest: DiagnosedPoint) -> str:
    """Judge gradients in training mode by states and parameters; see `dnlbench.diagnosis.summary.QUANTITIES`."""
    states, layers = "training_gradient_ratio", "training_layer_ratio"
    if states not in deepest.quantities or layers not in deepest.quantities:
        return f"gradients: not measured in training mode at L={deepest.depth}; no conclusion is drawn"
    start = (
        f"gradients of the trained network in training mode at L={deepest.depth}: first over last state of a block "
        f"{_value(deepest, states)}, first over last layer {_value(deepest, layers)}"
    )
    records = [deepest.quantities[name] for name in (states, layers)]
    bounds = [(record.low, record.high) for record in records if record.low is not None and record.high is not None]
    if len(bounds) < len(records):
        return start
    if all(low >= 1 / MUCH and high <= MUCH for low, high in bounds):
        return f"{start}; within a factor of {MUCH:g}, they neither vanish nor explode"
    for record, (low, high) in zip(records, bounds, strict=True):
        if high < 1 / MUCH or low > MUCH:
            per_layer = record.mean ** (1 / deepest.depth) if record.mean > 0 else 0.0
            word = "vanish" if high < 1 / MUCH else "explode"
            return f"{start}; they {word} in the backward pass, by a factor of {per_layer:.2f} per layer"
    return start


def _against_one(fit: OrderRecord, *, one: str, faster: str, slower: str) -> str:
    """Describe the order of values for which theory predicts 1/L, and the conclusion; see the module."""
    if fit.low is None or fit.high is None:
        return _order(fit)
    texts = {"one": one, "faster": faster, "slower": slower, "open": "inconclusive, L^−1 or slower"}
    return f"{_order(fit)}: {texts[_speed(fit.low, fit.high)]}"


def _speed(low: float, high: float) -> Speed:
    """Classify an order by its interval, in the decimals that are shown."""
    if round(low, 2) > 1:
        return "faster"
    if round(high, 2) < 1:
        return "slower"
    return "one" if low > UNRELATED_ORDER else "open"


def _order(fit: OrderRecord) -> str:
    name = fit.along
    if fit.order is None:
        return fit.problem
    order = f"{name}^{-fit.order:.2f}".replace("^-0.00", "^0.00").replace("-", "−")
    if fit.low is None or fit.high is None:
        return f"they go like {order} (one seed: no interval)"
    if fit.low > -HARDLY and fit.high < HARDLY:
        return f"they hardly change with {name}, {order}"
    bounds = f"[{-fit.high:.2f}, {-fit.low:.2f}]".replace("-", "−")
    if fit.low <= 0 <= fit.high:
        return f"no clear change with {name}, {order} {bounds}"
    return f"they {'fall' if fit.low > 0 else 'grow'} like {order} {bounds}"


def _through(fit: OrderRecord) -> str:
    if fit.order is None:
        return f"have no fit: {fit.problem}"
    return _order(fit).removeprefix("they ").replace("no clear change", "show no clear change")


def _value(point: DiagnosedPoint, name: str) -> str:
    interval = point.quantities[name].interval
    return units.estimated(interval.estimate, interval.low, interval.high)
