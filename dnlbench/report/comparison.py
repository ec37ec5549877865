"""A comparison as tables, CSV and JSON, with the findings of a gate if there is one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dnlbench import units
from dnlbench.comparison import Cell, Comparison, Gate, Overall, Rule
from dnlbench.escape import csv_text, finite_or_word, json_text
from dnlbench.report.export import tables as export
from dnlbench.report.gate import depths_text
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import named, p_text, pairing, quantity_head, ratio_text, reasons, value_text, verdict_text
from dnlbench.stats import Interval
from dnlbench.studies import Quantity


def with_distinct_titles(
    comparisons: Sequence[Comparison], reference: Path, candidates: Sequence[Path]
) -> list[Comparison]:
    """Make the titles of profiles from different files distinct.

    A title is the name of a sweep and the minute of its start, so that the two profiles of a paired benchmark have the same
    title. Equal titles are followed by the stem of the file or, if stems are equal too, by its path.
    """
    if not comparisons:
        return []
    titles = [comparisons[0].reference, *(comparison.candidate for comparison in comparisons)]
    first, *others = _distinct(titles, [reference, *candidates])
    return [
        dataclasses.replace(each, reference=first, candidate=other)
        for each, other in zip(comparisons, others, strict=True)
    ]


def _distinct(titles: Sequence[str], files: Sequence[Path]) -> list[str]:
    files_by_title: dict[str, set[Path]] = {}
    for title, file in zip(titles, files, strict=True):
        files_by_title.setdefault(title, set()).add(file)
    return [_with_file(title, file, files_by_title[title]) for title, file in zip(titles, files, strict=True)]


def _with_file(title: str, file: Path, same_title: set[Path]) -> str:
    """Append the file to a title if other files have the same title."""
    if len(same_title) == 1:
        return title
    stems = {other.stem for other in same_title}
    return f"{title} ({file.stem if len(stems) == len(same_title) else file})"


def comparison_grids(comparison: Comparison) -> Iterator[Grid]:
    """Yield the differences, which decide if the rest is meaningful, then the overall results, then all points."""
    if grid := difference_grid(comparison):
        yield grid
    yield overall_grid(comparison)
    for _, grid in cell_grids(comparison):
        yield grid


def difference_grid(comparison: Comparison, *, shortened: bool = True) -> Grid | None:
    """Return the differences of the two profiles, with long values shortened on request; None without differences."""
    if not comparison.differences:
        return None
    cut = _short if shortened else str
    return Grid(
        title="Differences",
        columns=[Column(head="property"), Column(head="reference"), Column(head="candidate")],
        rows=[[cut(d.what), cut(d.reference), cut(d.candidate)] for d in comparison.differences],
    )


def cell_grids(comparison: Comparison) -> Iterator[tuple[Quantity, Grid]]:
    """Yield a table for each quantity, by point."""
    for quantity in dict.fromkeys(cell.quantity for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.quantity == quantity]
        columns = [
            Column(head="network", no_wrap=True),
            Column(head="L", numeric=True),
            Column(head="reference", numeric=True, drop_order=2),
            Column(head="candidate", numeric=True, drop_order=2),
            Column(head="ratio [95 % CI]" if any(map(_has_interval, cells)) else "ratio", numeric=True, drop_order=3),
            Column(head="p (Holm)", numeric=True, drop_order=1),
            Column(head="verdict", no_wrap=True),
        ]
        title = f"{quantity_head(quantity)[0].upper()}{quantity_head(quantity)[1:]}"
        rows = [_row(cell) for cell in cells]
        yield quantity, Grid(title=title, columns=columns, rows=rows, note=_note(comparison, quantity, cells))


def _has_interval(cell: Cell) -> bool:
    return cell.ratio is not None and cell.ratio.low is not None


def sentences(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield each network with a sentence on its results."""
    for network in dict.fromkeys(result.network for result in comparison.overall):
        results = [result for result in comparison.overall if result.network == network and result.verdict is not None]
        yield network, f"{'; '.join(map(_phrase, results))}."


def counted(cells: Sequence[Cell]) -> str:
    """Count the verdicts of cells: ``3 better, 1 worse``."""
    verdicts = [cell.verdict for cell in cells if cell.verdict is not None]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def _phrase(result: Overall) -> str:
    """Return the verdict on one quantity with the ratio."""
    start = f"{result.quantity.label} {result.verdict}"
    ratio = f", × {ratio_text(result.ratio)}" if result.ratio else ""
    if result.verdict == "not comparable" or result.ratio is None:
        return f"{start}{ratio} ({result.reason})"
    failed = f", {result.reason}" if result.verdict == "worse" and result.reason else ""
    return f"{start}{ratio}{failed}"


def summary_line(comparison: Comparison) -> str:
    """Count the verdicts of a comparison."""
    return ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts().items())


def _row(cell: Cell) -> list[str]:
    return [
        cell.network,
        str(cell.depth),
        value_text(cell.quantity, cell.reference),
        value_text(cell.quantity, cell.candidate),
        ratio_text(cell.ratio),
        p_text(cell.p_adjusted),
        verdict_text(cell.verdict),
    ]


def overall_grid(comparison: Comparison) -> Grid:
    """Return the results over all depths of each network."""
    return Grid(
        title="All depths combined",
        columns=[
            Column(head="quantity"),
            Column(head="network", no_wrap=True),
            Column(head="L", no_wrap=True, drop_order=1),
            Column(head="seeds", numeric=True, drop_order=1),
            Column(head="ratio [95 % CI]", numeric=True, drop_order=3),
            Column(head="p (Holm)", numeric=True, drop_order=2),
            Column(head="verdict", no_wrap=True),
        ],
        rows=[_overall_row(result) for result in comparison.overall],
        note="\n".join(
            [
                "ratio: geometric mean over the depths of each seed, then over seeds"
                f"{_holm(comparison, comparison.overall, 'the networks of a quantity')}",
                *_matching(comparison),
                *_remarks(comparison.overall),
            ]
        ),
    )


def _overall_row(result: Overall) -> list[str]:
    return [
        result.quantity.label,
        result.network,
        ", ".join(map(str, result.depths)) or units.NOTHING,
        str(len(result.seeds)) if result.seeds else units.NOTHING,
        ratio_text(result.ratio),
        p_text(result.p_adjusted),
        verdict_text(result.verdict),
    ]


def _remarks(results: Sequence[Overall]) -> Iterator[str]:
    """Yield each remark with the rows that it applies to."""
    remarks: dict[str, list[str]] = {}
    for result in results:
        for remark in filter(None, (result.reason and f"{result.verdict}: {result.reason}", result.left_out)):
            remarks.setdefault(remark, []).append(f"{result.quantity.label} of {result.network}")
    for remark, rows in remarks.items():
        yield f"{named(rows, 'rows')}: {remark}"


def _note(comparison: Comparison, quantity: Quantity, cells: Sequence[Cell]) -> str:
    rated = [cell for cell in cells if cell.ratio is not None and cell.verdict != "not comparable"]
    definition = ", ".join(["ratio = candidate / reference", *pairing(rated, _where)])
    direction = f"{quantity.better} is better; " if quantity.better else ""
    if quantity.follows:
        return "\n".join(
            [
                f"{definition}; {direction}no separate verdict; see {_label(comparison, quantity)}",
                *reasons(cells, _where),
            ]
        )
    tolerance = units.percent(quantity.tolerance)
    tests = _holm(comparison, cells, "this table")
    return "\n".join(
        [f"{definition}; {direction}changes within {tolerance} count as no difference{tests}", *reasons(cells, _where)]
    )


def _label(comparison: Comparison, quantity: Quantity) -> str:
    """Return the label of the quantity whose verdict this one follows."""
    return next(q.label for q in comparison.quantities if q.name == quantity.follows)


def _holm(comparison: Comparison, tests: Sequence[Cell | Overall], family: str) -> str:
    """Describe the adjustment of p values; empty without p values."""
    if all(test.p_adjusted is None for test in tests):
        return ""
    others = f" and over {comparison.families} families of tests" if comparison.families > 1 else ""
    return f"; p: Holm-adjusted over {family}{others}"


def _matching(comparison: Comparison) -> Iterator[str]:
    if comparison.match == "depth":
        yield "networks differ (candidate / reference): equal seeds give the same data order but different initial weights"


def _where(cells: Sequence[Cell]) -> str:
    return named([f"{cell.network} L={cell.depth}" for cell in cells], "points")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


_ESTIMATES = ("reference", "candidate", "ratio")
COLUMNS: tuple[export.Column, ...] = (
    *(export.Column(name=name, kind="string") for name in ("reference", "candidate", "quantity", "network")),
    export.Column(name="depth", kind="int64"),
    *(
        export.Column(name=f"{estimate}_{field}", kind="int64" if field == "n" else "float64")
        for estimate in _ESTIMATES
        for field in ("estimate", "low", "high", "n")
    ),
    export.Column(name="paired", kind="bool"),
    *(export.Column(name=name, kind="float64") for name in ("p", "p_adjusted")),
    *(export.Column(name=name, kind="string") for name in ("verdict", "reason")),
)
"""The columns of `comparison_rows`."""
ALL_DEPTHS = "all"
"""Replaces the depth in CSV rows over all depths."""


def comparison_csv(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """Return a row for each candidate, quantity and point, then one for each quantity and network over all depths.

    The last column contains the outcomes of the gate rules for that row. Rules without a quantity have separate rows.
    """
    head = [*(column.name for column in COLUMNS), "gate"]
    return csv_text([head, *(row for comparison in comparisons for row in _csv_rows(comparison, gate))])


def _csv_rows(comparison: Comparison, gate: Gate | None) -> Iterator[Sequence[object]]:
    outcomes = _gate_outcomes(comparison, gate)
    for row in comparison_rows(comparison):
        start, (quantity, network, depth), rest = row[:2], row[2:5], row[5:]
        outcome = outcomes.pop((str(quantity), str(network), ALL_DEPTHS), "") if depth is None else ""
        texts = (str(value) if isinstance(value, bool) else value for value in rest)
        yield (*start, quantity, network, ALL_DEPTHS if depth is None else depth, *texts, outcome)
    for scope, outcome in outcomes.items():
        yield (comparison.reference, comparison.candidate, *scope, *_fields(None) * 3, *[""] * 5, outcome)


def comparison_rows(comparison: Comparison) -> Iterator[Sequence[export.Value]]:
    """Yield a row for each quantity and point, then one without a depth for each quantity and network over all depths."""
    names = (comparison.reference, comparison.candidate)
    for cell in comparison.cells:
        estimates = (*_fields(cell.reference), *_fields(cell.candidate), *_fields(cell.ratio))
        ending = (cell.paired, cell.p, cell.p_adjusted, cell.verdict, cell.reason)
        yield (*names, cell.quantity.name, cell.network, cell.depth, *estimates, *ending)
    for result in comparison.overall:
        estimates = (*_fields(None), *_fields(None), *_fields(result.ratio))
        reason = "; ".join(filter(None, (result.reason, result.left_out)))
        ending = (result.paired, result.p, result.p_adjusted, result.verdict, reason)
        yield (*names, result.quantity.name, result.network, None, *estimates, *ending)


def _gate_outcomes(comparison: Comparison, gate: Gate | None) -> dict[tuple[str, str, str], str]:
    """Return outcomes such as ``throughput:5% pass`` by quantity, network and depths."""
    texts: dict[tuple[str, str, str], list[str]] = {}
    for finding in gate.findings if gate else ():
        if finding.candidate == comparison.candidate:
            depths = ALL_DEPTHS if finding.rule.scope == "candidate" else depths_text(finding)
            row = (finding.rule.quantity, finding.network, depths)
            texts.setdefault(row, []).append(f"{finding.rule.text} {finding.outcome}")
    return {row: "; ".join(dict.fromkeys(outcomes)) for row, outcomes in texts.items()}


def _fields(interval: Interval | None) -> tuple[float | None, ...]:
    return (interval.estimate, interval.low, interval.high, interval.n) if interval else (None, None, None, 0)


def comparison_json(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """Return an object with the comparisons and the gate. Non-finite numbers are strings, as in profiles."""
    content = [{**_plain(comparison), "counts": comparison.counts()} for comparison in comparisons]
    gates = {} if gate is None else {"gate": gate_content(gate)}
    return json_text(json.dumps({"comparisons": content, **gates}, indent=1, ensure_ascii=False, allow_nan=False))


def gate_content(gate: Gate) -> dict[str, Any]:
    """Return a gate as plain JSON values."""
    return dict(_plain(gate))


def _plain(value: Any) -> Any:
    """Convert a value to plain JSON values. Quantities and rules become their names."""
    if isinstance(value, Quantity):
        return value.name
    if isinstance(value, Rule):
        return value.text
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return finite_or_word(value) if isinstance(value, float) else value
