"""Summary of the metrics of runs: means over seeds at each depth, and orders over depth and along the layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.diagnosis.model import BlockRecord, DiagnosedPoint, OrderRecord, RunMetrics, TrainingBlockRecord
from dnlbench.profiles import IntervalRecord
from dnlbench.stats import Range, fit_order, mean_interval

FEWEST_LAYERS = 4
"""Minimum number of layers for a fit in ``l``."""


@dataclass(frozen=True, kw_only=True)
class DepthQuantity:
    """A metric of a run."""

    name: str
    label: str
    of_block: Callable[[BlockRecord], float | None] | None = None
    """The value of a block in evaluation mode."""
    in_training: Callable[[BlockRecord, TrainingBlockRecord], float | None] | None = None
    """The value of a block in training mode; then ``of_block`` is None."""
    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    """The mean over the blocks; geometric for ratios."""
    range: Range = "positive"


def _mean_of(series: str) -> Callable[[BlockRecord], float | None]:
    return lambda block: _mean([value for value in getattr(block, series) if value is not None])


def _growth(block: BlockRecord) -> float | None:
    return _quotient(block.forward[-1], block.forward[block.first_state])


def _gradient_ratio(block: BlockRecord, seen: BlockRecord | TrainingBlockRecord) -> float | None:
    """Return the ratio of the loss changes for equal relative changes of the first and the last state.

    Relative changes count, since a layer behind a batch norm does not depend on the size of the state.
    """
    first, last = (
        None if (gradient := seen.state_gradient[at]) is None or (size := seen.forward[at]) is None else gradient * size
        for at in (block.first_state, -1)
    )
    return _quotient(first, last)


def _layer_ratio(block: BlockRecord, seen: TrainingBlockRecord) -> float | None:
    return _quotient(seen.parameter_gradient[0], seen.parameter_gradient[-1])


QUANTITIES = (
    DepthQuantity(name="state_step", label="states", of_block=_mean_of("state_step")),
    DepthQuantity(name="map_distance", label="maps", of_block=_mean_of("map_distance")),
    DepthQuantity(name="filter_distance", label="filters", of_block=_mean_of("filter_distance")),
    DepthQuantity(name="roughness", label="parameters", of_block=lambda block: block.roughness.get("all")),
    DepthQuantity(name="pattern_change", label="patterns", of_block=_mean_of("pattern_change"), range="fraction"),
    DepthQuantity(name="growth", label="growth", of_block=_growth, mean="geometric"),
    DepthQuantity(
        name="gradient_ratio", label="gradients", of_block=lambda block: _gradient_ratio(block, block), mean="geometric"
    ),
    DepthQuantity(
        name="training_gradient_ratio", label="gradients in training", in_training=_gradient_ratio, mean="geometric"
    ),
    DepthQuantity(
        name="training_layer_ratio", label="layers' gradients in training", in_training=_layer_ratio, mean="geometric"
    ),
)
"""The value of a block is the mean over its layers for the first five quantities except ``roughness``, which is that of all
arrays in `BlockMetrics`. ``growth`` is the size of the last state over that of the first. ``gradient_ratio`` is
``‖x^l‖ ‖d loss/d x^l‖`` at the first state over that at the last: far below 1 gradients vanish in the backward pass, far above
1 they explode. ``training_gradient_ratio`` is the same in training mode. ``training_layer_ratio`` is the gradient norm of the
first layer's parameters over that of the last layer's, in training mode."""

WITH_DEPTH = ("state_step", "map_distance", "filter_distance", "roughness")
"""Quantities that fall like 1/L in a continuous limit."""
THROUGH_DEPTH = ("state_step", "map_distance", "filter_distance", "parameter_step")
"""Series that fall with ``l`` in networks that converge as layers are added."""


def summarize_runs(runs: Sequence[RunMetrics]) -> tuple[tuple[DiagnosedPoint, ...], tuple[OrderRecord, ...]]:
    """Return the points in the order of the runs, and the fitted orders of each network."""
    points: dict[tuple[str, int], list[RunMetrics]] = {}
    for run in runs:
        points.setdefault((run.network, run.depth), []).append(run)
    networks = {network: [run for run in runs if run.network == network] for network, _ in points}
    orders = [record for group in networks.values() for record in _orders(group)]
    return tuple(_point(group) for group in points.values()), tuple(orders)


def number_of(run: RunMetrics, quantity: DepthQuantity) -> float | None:
    """Return a run's value of a quantity; None if no block has one."""
    values = [value for value in _of_blocks(run, quantity) if value is not None]
    if quantity.mean == "arithmetic" or not values:
        return _mean(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0


def _of_blocks(run: RunMetrics, quantity: DepthQuantity) -> list[float | None]:
    if quantity.of_block is not None:
        return [quantity.of_block(block) for block in run.blocks]
    if quantity.in_training is None or run.training is None:
        return []
    return [quantity.in_training(*pair) for pair in zip(run.blocks, run.training.blocks, strict=True)]


def series_of(run: RunMetrics, name: str) -> tuple[float | None, ...]:
    """Return a series of a run, at each index the mean over the blocks."""
    columns = zip(*(getattr(block, name) for block in run.blocks), strict=True)
    return tuple(_mean([value for value in column if value is not None]) for column in columns)


def mean_series(runs: Sequence[RunMetrics], name: str) -> tuple[float | None, ...]:
    """Return the mean series over runs of one depth."""
    columns = zip(*(series_of(run, name) for run in runs), strict=True)
    return tuple(_mean([value for value in column if value is not None]) for column in columns)


def _point(runs: Sequence[RunMetrics]) -> DiagnosedPoint:
    quantities = {}
    for quantity in QUANTITIES:
        values = [value for run in runs if (value := number_of(run, quantity)) is not None]
        if values:
            interval = mean_interval(values, quantity.range)
            quantities[quantity.name] = IntervalRecord(
                mean=interval.estimate, low=interval.low, high=interval.high, n=interval.n
            )
    return DiagnosedPoint(network=runs[0].network, depth=runs[0].depth, quantities=quantities)


def _orders(runs: Sequence[RunMetrics]) -> Iterator[OrderRecord]:
    """Yield the fitted orders of one network, for quantities with a value."""
    depths = sorted({run.depth for run in runs})
    deepest = [run for run in runs if run.depth == depths[-1]]
    for quantity in (quantity for quantity in QUANTITIES if quantity.name in WITH_DEPTH):
        by_seed: dict[int, dict[int, float]] = {}
        for run in runs:
            value = number_of(run, quantity)
            if value is not None:
                by_seed.setdefault(run.seed, {})[run.depth] = value
        at = sorted({depth for curve in by_seed.values() for depth in curve})
        if at:
            complete = [[curve[depth] for depth in at] for curve in by_seed.values() if len(curve) == len(at)]
            yield _fit(
                OrderRecord(network=runs[0].network, quantity=quantity.name, along="L", depth=at[-1]), at, complete, 2
            )
    for name in THROUGH_DEPTH:
        series = [series_of(run, name) for run in deepest]
        layers = [layer for layer, value in enumerate(series[0]) if value is not None]
        if layers:
            curves = [[value for value in values if value is not None] for values in series]
            record = OrderRecord(network=runs[0].network, quantity=name, along="l", depth=depths[-1])
            yield _fit(record, [layer + 1 for layer in layers], curves, FEWEST_LAYERS)


def _fit(record: OrderRecord, at: Sequence[int], curves: Sequence[Sequence[float]], fewest: int) -> OrderRecord:
    if len(at) < fewest:
        what = "depths" if record.along == "L" else "layers"
        return record.model_copy(update={"problem": f"too few {what}: {len(at)}, an order needs {fewest}"})
    if not curves:
        return record.model_copy(update={"problem": "no seed was measured at every depth"})
    try:
        order = fit_order(at, curves).order
    except (ValueError, OverflowError) as error:  # a value of 0 has no order, and equal layers have no differences
        return record.model_copy(update={"problem": str(error)})
    return record.model_copy(update={"order": order.estimate, "low": order.low, "high": order.high, "n": order.n})


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _quotient(above: float | None, below: float | None) -> float | None:
    if above is None or below is None:
        return None
    return above / below if below else None
