"""A comparison as tables, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dnlbench import units
from dnlbench.compare import Cell, Comparison, Gate
from dnlbench.report import quantities
from dnlbench.report.grid import Column, Grid
from dnlbench.report.ratios import ratio
from dnlbench.stats import Interval
from dnlbench.studies import Quantity

NAMED_POINTS = 3
"""More points than this are counted, not named."""


def comparison_grids(comparison: Comparison) -> Iterator[Grid]:
    """What differs first, because it decides whether the rest means anything; then each quantity by point."""
    if grid := difference_grid(comparison):
        yield grid
    for _, grid in cell_grids(comparison):
        yield grid


def difference_grid(comparison: Comparison, *, shortened: bool = True) -> Grid | None:
    """What is not the same on both sides, long values cut if asked for; None if nothing is."""
    if not comparison.differences:
        return None
    cut = _short if shortened else str
    return Grid(
        title="Differences",
        columns=[Column(head="what"), Column(head="reference"), Column(head="candidate")],
        rows=[[cut(d.what), cut(d.reference), cut(d.candidate)] for d in comparison.differences],
    )


def cell_grids(comparison: Comparison) -> Iterator[tuple[Quantity, Grid]]:
    """Each quantity by point."""
    for quantity in dict.fromkeys(cell.quantity for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.quantity == quantity]
        yield (
            quantity,
            Grid(
                title=f"{quantities.head(quantity)[0].upper()}{quantities.head(quantity)[1:]}",
                columns=[
                    Column(head="network", whole=True),
                    Column(head="L", figures=True),
                    Column(head="reference", figures=True, dispensable=1),
                    Column(head="candidate", figures=True, dispensable=1),
                    Column(head="ratio [95 %]", figures=True, dispensable=2),
                    Column(head="verdict", whole=True),
                ],
                rows=[_row(cell) for cell in cells],
                note=_note(quantity, cells),
            ),
        )


def summary_line(comparison: Comparison) -> str:
    """How many cells have each verdict."""
    return ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts().items())


def _row(cell: Cell) -> list[str]:
    return [
        cell.network,
        str(cell.depth),
        quantities.value(cell.quantity, cell.reference),
        quantities.value(cell.quantity, cell.candidate),
        ratio(cell.ratio),
        cell.verdict,
    ]


def _note(quantity: Quantity, cells: Sequence[Cell]) -> str:
    definition = ", ".join(["ratio = candidate / reference", *_methods(cells)])
    direction = f"{quantity.better} is better; " if quantity.better else ""
    tolerance = units.percent(quantity.tolerance)
    return "\n".join([f"{definition}; {direction}within {tolerance} is no difference", *_reasons(cells)])


def _methods(cells: Sequence[Cell]) -> Iterator[str]:
    """How the ratios that there are were worked out; nothing where there is none."""
    rated = [cell for cell in cells if cell.ratio is not None]
    unpaired = [cell for cell in rated if not cell.paired]
    if len(unpaired) < len(rated):
        yield "paired by seed"
    if unpaired:
        yield "Welch" if len(unpaired) == len(rated) else f"but Welch at {_where(unpaired)}"


def _reasons(cells: Sequence[Cell]) -> Iterator[str]:
    """Each reason once, with the points that it holds for."""
    for verdict, reason in dict.fromkeys((cell.verdict, cell.reason) for cell in cells if cell.reason):
        alike = [cell for cell in cells if (cell.verdict, cell.reason) == (verdict, reason)]
        yield f"{verdict} at {_where(alike)}: {reason}"


def _where(cells: Sequence[Cell]) -> str:
    points = [f"{cell.network} L={cell.depth}" for cell in cells]
    return ", ".join(points) if len(points) <= NAMED_POINTS else f"{len(points)} points"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One row for each candidate, quantity and point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    sides = [
        f"{side}_{field}" for side in ("reference", "candidate", "ratio") for field in ("estimate", "low", "high", "n")
    ]
    judged = ["p", "p_adjusted", "paired", "verdict", "reason"]
    writer.writerow(["reference", "candidate", "quantity", "network", "depth", *sides, *judged])
    for comparison in comparisons:
        for cell in comparison.cells:
            intervals = [value for side in (cell.reference, cell.candidate, cell.ratio) for value in _fields(side)]
            writer.writerow(
                [
                    *(comparison.reference, comparison.candidate, cell.quantity.name, cell.network, cell.depth),
                    *intervals,
                    *("" if p is None else repr(p) for p in (cell.p, cell.p_adjusted)),
                    *(cell.paired, cell.verdict, cell.reason),
                ]
            )
    return out.getvalue()


def _fields(interval: Interval | None) -> list[str]:
    if interval is None:
        return ["", "", "", "0"]
    bounds = (interval.estimate, interval.low, interval.high)
    return [*("" if bound is None else repr(bound) for bound in bounds), str(interval.n)]


def comparison_json(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """One object with a list of comparisons, and the gate if there was one; what is not finite is a string, as in profiles."""
    content: dict[str, Any] = {"comparisons": [{**_plain(each), "counts": each.counts()} for each in comparisons]}
    if gate is not None:
        content["gate"] = _plain(gate)
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Of what JSON knows; a quantity is its name."""
    if isinstance(value, Quantity):
        return value.name
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else _json_number(value)


def _json_number(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
