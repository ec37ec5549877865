"""What is about to be run."""

from __future__ import annotations

from dnlbench import units
from dnlbench.events import DataInfo
from dnlbench.plan import Plan
from dnlbench.report.grid import Column, Grid


def plan_grid(plan: Plan, data: DataInfo) -> Grid:
    """Points with their number of runs, parameters and expected memory."""
    rows = []
    for point in plan.spec.points:
        foreseen = plan.estimate(point, data.input_shape, data.classes)
        rows.append(
            [
                point.network,
                str(point.depth),
                str(len(plan.spec.seeds)),
                units.count(foreseen.parameters),
                units.size(foreseen.memory_bytes),
            ]
        )
    return Grid(
        title=f"{plan.spec.name}: {units.counted(len(plan.runs), 'run')} on {_described(data)}",
        columns=[
            Column(head="network"),
            Column(head="L", figures=True),
            Column(head="seeds", figures=True),
            Column(head="parameters", figures=True),
            Column(head="memory per run, about", figures=True),
        ],
        rows=rows,
    )


def _described(data: DataInfo) -> str:
    channels, height, width = data.input_shape
    if data.classes is None:
        return f"{data.name}, {data.samples} samples of {height} positions with {width} channels"
    return f"{data.name}, {data.samples} images of {channels}×{height}×{width} in {data.classes} classes"
