"""A diagnosis as tables, Markdown and CSV."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.diagnosis import QUANTITIES, SERIES, TRAINING_SERIES, DiagnosedPoint, Diagnosis, RunMetrics, mean_series
from dnlbench.escape import csv_text, printable
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import both_ends

ALL_LAYERS = 12
"""Maximum number of layers for which every layer is shown."""
NOTE_WIDTH = 79
_BY_DEPTH = {
    "state_step": ("states", 0),
    "map_distance": ("maps", 0),
    "filter_distance": ("filters", 3),
    "roughness": ("parameters", 0),
    "pattern_change": ("patterns", 4),
    "growth": ("growth", 1),
    "gradient_ratio": ("gradients", 1),
    "training_gradient_ratio": ("training: gradients", 2),
    "training_layer_ratio": ("training: layers", 2),
}
_BY_LAYER = {
    "state_step": "states",
    "map_distance": "maps",
    "filter_distance": "filters",
    "parameter_step": "parameters",
    "pattern_change": "patterns",
    "forward": "norm of x^l",
    "state_gradient": "gradient at x^l",
    "parameter_gradient": "layer's gradient",
}


def diagnosis_header(diagnosis: Diagnosis) -> str:
    """Return the source of a diagnosis and the definitions of its columns."""
    return (
        f"{diagnosis.name}: {len(diagnosis.runs)} trained networks on {diagnosis.samples} training images, from "
        f"{diagnosis.source}\n"
        "states      |x^{l+1} − x^l| / |x^l|\n"
        "maps        norm of d(layer l)/d x^l; resnet and plain: minus I\n"
        "filters     estimate of maps from weights: |W − I| / |I|, resnet: |tau W| / |I|\n"
        "parameters  differences of consecutive layers in R_L over parameter norm\n"
        "patterns    fraction of ReLUs with different sign in layers l and l + 1\n"
        "growth      norm of the last state of a block over that of the first\n"
        "gradients   |x^l| |d loss/d x^l| at the first state of a block over the last\n"
        "layers      |d loss/d parameters| of the first layer of a block over the last\n"
        'Columns marked "training" are in training mode, the others in evaluation mode.'
    )


def diagnosis_grids(diagnosis: Diagnosis) -> Iterator[Grid]:
    """Yield for each network its metrics by depth, with the conclusions, and by layer at the largest depth."""
    for network in dict.fromkeys(point.network for point in diagnosis.points):
        points = [point for point in diagnosis.points if point.network == network]
        yield _by_depth(network, points, diagnosis.findings.get(network, ()))
        deepest = max(point.depth for point in points)
        runs = [run for run in diagnosis.runs if (run.network, run.depth) == (network, deepest)]
        yield _by_layer(network, deepest, runs)


def _by_depth(network: str, points: Sequence[DiagnosedPoint], findings: Sequence[str]) -> Grid:
    shown = [q.name for q in QUANTITIES if any(q.name in point.quantities for point in points)]
    columns = [
        Column(head="L", numeric=True),
        *(Column(head=_BY_DEPTH[name][0], numeric=True, drop_order=_BY_DEPTH[name][1]) for name in shown),
    ]
    seeds = {record.n for point in points for record in point.quantities.values()}
    rows = [[str(point.depth), *(_value(point, name) for name in shown)] for point in points]
    interval = f"±: half-width of the 95 % t interval over seeds{both_ends(rows)}"
    reading = f"means over layers and blocks, then over {_seeds(seeds)}; {interval}"
    return Grid(
        title=f"{network} by depth",
        columns=columns,
        rows=rows,
        note="\n".join(map(_wrapped, [reading, *findings])),
    )


def _by_layer(network: str, depth: int, runs: Sequence[RunMetrics]) -> Grid:
    series = {name: mean_series(runs, name) for name in _BY_LAYER}
    shown = [name for name, values in series.items() if any(value is not None for value in values)]
    rows = [
        [str(index), *(_at(series[name], index) for name in shown)]
        for index in range(depth + 1)
        if depth <= ALL_LAYERS or index in _some(depth)
    ]
    heads = {"filter_distance": 1}
    return Grid(
        title=f"{network} L={depth}, layer by layer",
        columns=[
            Column(head="l", numeric=True),
            *(Column(head=_BY_LAYER[name], numeric=True, drop_order=heads.get(name, 0)) for name in shown),
        ],
        rows=rows,
        note="means over blocks and seeds; layer l computes x^{l+1}"
        + ("" if depth <= ALL_LAYERS else "; use --format csv for all layers"),
    )


def _some(depth: int) -> set[int]:
    """Choose layers: the first ones, then increasingly few, and the last ones."""
    doubling = {2**power for power in range(depth.bit_length())}
    return {0, *doubling, *(3 * step // 2 for step in doubling), depth - 1, depth}


def _seeds(numbers: set[int]) -> str:
    if len(numbers) == 1:
        (number,) = numbers
        return f"{number} seed{'s' if number > 1 else ''}"
    return f"{min(numbers)} to {max(numbers)} seeds"


def _wrapped(finding: str) -> str:
    return textwrap.fill(finding, NOTE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _value(point: DiagnosedPoint, name: str) -> str:
    record = point.quantities.get(name)
    if record is None:
        return units.NOTHING
    return units.estimated(record.mean, record.low, record.high)


def _at(values: Sequence[float | None], index: int) -> str:
    value = values[index] if index < len(values) else None
    return units.NOTHING if value is None else f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 else units.number(value)


def diagnosis_markdown(diagnosis: Diagnosis) -> str:
    """Return a diagnosis for a pull request."""
    header = printable(diagnosis_header(diagnosis)).replace("`", "'")  # backticks would end the code block
    return "\n\n".join([f"```\n{header}\n```", *(grid.to_markdown() for grid in diagnosis_grids(diagnosis))])


def diagnosis_csv(diagnosis: Diagnosis) -> str:
    """Return a row for each metric of each layer or state. The roughness of an array has no layer."""
    head = ["run_id", "network", "depth", "seed", "block", "layer", "quantity", "value"]
    return csv_text([head, *_csv_rows(diagnosis)])


def _csv_rows(diagnosis: Diagnosis) -> Iterator[Sequence[object]]:
    for run in diagnosis.runs:
        start = (run.run_id, run.network, run.depth, run.seed)
        for number, block in enumerate(run.blocks):
            for name in SERIES:
                values = enumerate(getattr(block, name))
                yield from ((*start, number, layer, name, value) for layer, value in values if value is not None)
            yield from ((*start, number, "", f"roughness of {name}", value) for name, value in block.roughness.items())
        for number, seen in enumerate(run.training.blocks if run.training else ()):
            for name in TRAINING_SERIES:
                values = enumerate(getattr(seen, name))
                yield from ((*start, number, layer, f"{name} in training", value) for layer, value in values)
