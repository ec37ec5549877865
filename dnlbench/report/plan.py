"""A preview of the runs of a plan."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from dnlbench import units
from dnlbench.events import DataInfo
from dnlbench.plan import Plan
from dnlbench.report.grid import Column, Grid
from dnlbench.studies import Point


def plan_preview(
    plan: Plan,
    title: str,
    data: DataInfo | None = None,
    *,
    run_s: Mapping[Point, float] | None = None,
    too_large: Collection[Point] = (),
) -> Grid:
    """Return a row for each point: seeds, parameters, estimated memory, and time or relative cost.

    Without ``run_s``, the estimated seconds per run, the cost is relative to the cheapest run. The points in ``too_large`` do
    not fit into the memory of a device.
    """
    shape, classes = (data.input_shape, data.classes) if data else (None, None)
    estimates = {point: plan.estimate(point, shape, classes) for point in plan.spec.points}
    matched = {run.point: run.matched for run in plan.runs}
    costs = {point: plan.spec_at(point).epochs * estimate.work for point, estimate in estimates.items()}
    cheapest = min(costs.values())
    columns = [
        Column(head="network"),
        Column(head="L", numeric=True),
        Column(head="seeds", numeric=True, drop_order=1),
        *([Column(head="matched budget")] if any(matched.values()) else []),
        Column(head="parameters", numeric=True),
        Column(head="estimated memory per run", numeric=True),
        Column(head="estimated time per run" if run_s else "relative cost per run", numeric=True, drop_order=2),
        *([Column(head="", no_wrap=True)] if too_large else []),
    ]
    rows = [
        [
            point.series,
            str(point.depth),
            str(len(plan.spec.seeds)),
            *([text.text if (text := matched[point]) else units.NOTHING] if any(matched.values()) else []),
            units.count(estimate.parameters),
            units.size(estimate.memory_bytes),
            units.seconds(run_s.get(point)) if run_s else f"× {_times(costs[point] / cheapest)}",
            *(["too large" if point in too_large else ""] if too_large else []),
        ]
        for point, estimate in estimates.items()
    ]
    return Grid(title=title, columns=columns, rows=rows)


def data_title(plan: Plan, data: DataInfo) -> str:
    """Return ``digits-quick: 27 runs on digits, 1500 images of 1×8×8 in 10 classes``."""
    samples = f"{data.samples} {_described(data)}"
    return f"{plan.spec.name}: {units.counted(len(plan.runs), 'run')} on {data.name}, {samples}"


def _described(data: DataInfo) -> str:
    if data.classes is None:
        _, positions, channels = data.input_shape
        return f"samples of {positions} positions with {channels} channels"
    shape = "×".join(map(str, data.input_shape))
    inputs = {
        "images": f"images of {shape}",
        "values": f"samples of {units.counted(data.input_shape[0], 'value')}"
        if len(data.input_shape) == 1
        else f"samples of {shape} values",
        "tokens": f"sequences of {units.counted(math.prod(data.input_shape), 'token')}",
    }
    targets = {
        "classes": f"in {data.classes} classes",
        "values": f"with {units.counted(data.classes, 'target value')}",
        "tokens": f"from a vocabulary of {data.classes}",
    }
    return f"{inputs[data.inputs]} {targets[data.targets]}"


def _times(factor: float) -> str:
    return f"{factor:.1f}" if factor < 1000 else units.count(factor)
