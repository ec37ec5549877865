"""A comparison as tables, CSV and JSON; with a gate's findings, where one was asked for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dnlbench import units
from dnlbench.compare import Cell, Comparison, Gate, Overall, Rule
from dnlbench.escape import csv_text, finite_or_word, json_text
from dnlbench.report.gate import depths_text
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import named, p_text, pairing, quantity_head, ratio_text, reasons, value_text, verdict_text
from dnlbench.stats import Interval
from dnlbench.studies import STUDIES, Quantity


def with_distinct_titles(
    comparisons: Sequence[Comparison], reference: Path, candidates: Sequence[Path]
) -> list[Comparison]:
    """Comparisons with one reference, in which profiles of different files have different titles.

    A title is a sweep's name and the minute in which it began, which both sides of one session share, and sweeps of a script.
    Those that are equal are followed by the stems of their files or, where these are equal as well, by the paths.
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
    sharing: dict[str, set[Path]] = {}
    for title, file in zip(titles, files, strict=True):
        sharing.setdefault(title, set()).add(file)
    return [_with_file(title, file, sharing[title]) for title, file in zip(titles, files, strict=True)]


def _with_file(title: str, file: Path, sharing: set[Path]) -> str:
    """The file belongs to those that share the title."""
    if len(sharing) == 1:
        return title
    stems = {other.stem for other in sharing}
    return f"{title} ({file.stem if len(stems) == len(sharing) else file})"


def comparison_grids(comparison: Comparison) -> Iterator[Grid]:
    """What differs first, because it decides whether the rest means anything; then one figure a network, and all points."""
    if grid := difference_grid(comparison):
        yield grid
    yield overall_grid(comparison)
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
        columns = [
            Column(head="network", no_wrap=True),
            Column(head="L", numeric=True),
            Column(head="reference", numeric=True, drop_order=2),
            Column(head="candidate", numeric=True, drop_order=2),
            Column(head="ratio [95 %]" if any(map(_has_interval, cells)) else "ratio", numeric=True, drop_order=3),
            Column(head="p", numeric=True, drop_order=1),
            Column(head="verdict", no_wrap=True),
        ]
        title = f"{quantity_head(quantity)[0].upper()}{quantity_head(quantity)[1:]}"
        rows = [_row(cell) for cell in cells]
        yield quantity, Grid(title=title, columns=columns, rows=rows, note=_note(comparison, quantity, cells))


def _has_interval(cell: Cell) -> bool:
    return cell.ratio is not None and cell.ratio.low is not None


def sentences(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Each network with what holds of it, in one sentence."""
    for network in dict.fromkeys(result.network for result in comparison.overall):
        own = [result for result in comparison.overall if result.network == network and result.verdict is not None]
        yield network, f"{'; '.join(_phrase(result) for result in own)}."


def counted(cells: Sequence[Cell]) -> str:
    """How many cells have each verdict."""
    verdicts = [cell.verdict for cell in cells if cell.verdict is not None]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def _phrase(result: Overall) -> str:
    """Of one quantity: the verdict, with how large the difference is."""
    start = f"{result.quantity.label} {result.verdict}"
    ratio = f", × {ratio_text(result.ratio)}" if result.ratio else ""
    if result.verdict == "not comparable" or result.ratio is None:
        return f"{start}{ratio} ({result.reason})"
    failed = f", {result.reason}" if result.verdict == "worse" and result.reason else ""
    return f"{start}{ratio}{failed}"


def summary_line(comparison: Comparison) -> str:
    """How many cells have each verdict."""
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
    """What all depths of a network say together."""
    return Grid(
        title="All depths together",
        columns=[
            Column(head="quantity"),
            Column(head="network", no_wrap=True),
            Column(head="L", no_wrap=True, drop_order=1),
            Column(head="seeds", numeric=True, drop_order=1),
            Column(head="ratio [95 %]", numeric=True, drop_order=3),
            Column(head="p", numeric=True, drop_order=2),
            Column(head="verdict", no_wrap=True),
        ],
        rows=[_overall_row(result) for result in comparison.overall],
        note="\n".join(
            [
                "ratio: geometric mean over depths within each seed, then over seeds"
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
    """What there is to say about figures, each with those that it is said of."""
    remarks: dict[str, list[str]] = {}
    for result in results:
        for remark in filter(None, (result.reason and f"{result.verdict}: {result.reason}", result.left_out)):
            remarks.setdefault(remark, []).append(f"{result.quantity.label} of {result.network}")
    for remark, places in remarks.items():
        yield f"{named(places, 'rows')}: {remark}"


def _note(comparison: Comparison, quantity: Quantity, cells: Sequence[Cell]) -> str:
    rated = [cell for cell in cells if cell.ratio is not None and cell.verdict != "not comparable"]
    definition = ", ".join(["ratio = candidate / reference", *pairing(rated, _where)])
    direction = f"{quantity.better} is better; " if quantity.better else ""
    if quantity.follows:
        return "\n".join(
            [
                f"{definition}; {direction}no verdict of its own: see {_label(comparison, quantity)}",
                *reasons(cells, _where),
            ]
        )
    tolerance = units.percent(quantity.tolerance)
    tests = _holm(comparison, cells, "this table")
    return "\n".join([f"{definition}; {direction}within {tolerance} is no difference{tests}", *reasons(cells, _where)])


def _label(comparison: Comparison, quantity: Quantity) -> str:
    """The label of the quantity that this one follows."""
    return next(q.label for q in STUDIES[comparison.study].quantities if q.name == quantity.follows)


def _holm(comparison: Comparison, tests: Sequence[Cell | Overall], family: str) -> str:
    """How p values are adjusted; nothing where there are none."""
    if all(test.p_adjusted is None for test in tests):
        return ""
    others = f" and over {comparison.families} families of tests" if comparison.families > 1 else ""
    return f"; p by Holm over {family}{others}"


def _matching(comparison: Comparison) -> Iterator[str]:
    if comparison.match == "depth":
        yield "networks differ (candidate / reference): runs of equal seed share the order of data, not initial weights"


def _where(cells: Sequence[Cell]) -> str:
    return named([f"{cell.network} L={cell.depth}" for cell in cells], "points")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


_ESTIMATES = ("reference", "candidate", "ratio")
_CSV_HEAD = (
    *("reference", "candidate", "quantity", "network", "depth"),
    *(f"{estimate}_{field}" for estimate in _ESTIMATES for field in ("estimate", "low", "high", "n")),
    *("paired", "p", "p_adjusted", "verdict", "reason", "gate"),
)
ALL_DEPTHS = "all"
"""In place of a depth, in CSV."""


def comparison_csv(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """One row for each candidate, quantity and point, then one for each quantity and network over all depths.

    The last column is what the gate's rules say of that row. A rule that is about no quantity has rows of its own.
    """
    return csv_text([_CSV_HEAD, *(row for comparison in comparisons for row in _csv_rows(comparison, gate))])


def _csv_rows(comparison: Comparison, gate: Gate | None) -> Iterator[Sequence[object]]:
    names = (comparison.reference, comparison.candidate)
    for cell in comparison.cells:
        estimates = (*_fields(cell.reference), *_fields(cell.candidate), *_fields(cell.ratio))
        ending = (str(cell.paired), cell.p, cell.p_adjusted, cell.verdict, cell.reason, "")
        yield (*names, cell.quantity.name, cell.network, cell.depth, *estimates, *ending)
    outcomes = _gate_outcomes(comparison, gate)
    for result in comparison.overall:
        estimates = (*_fields(None), *_fields(None), *_fields(result.ratio))
        reason = "; ".join(filter(None, (result.reason, result.left_out)))
        outcome = outcomes.pop((result.quantity.name, result.network, ALL_DEPTHS), "")
        ending = (str(result.paired), result.p, result.p_adjusted, result.verdict, reason, outcome)
        yield (*names, result.quantity.name, result.network, ALL_DEPTHS, *estimates, *ending)
    for row, outcome in outcomes.items():
        yield (*names, *row, *_fields(None) * 3, *[""] * 5, outcome)


def _gate_outcomes(comparison: Comparison, gate: Gate | None) -> dict[tuple[str, str, str], str]:
    """``throughput:5% pass``, by quantity, network and depths."""
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
    """One object with a list of comparisons, and the gate; numbers that are not finite are strings, as in profiles."""
    content = [{**_plain(comparison), "counts": comparison.counts()} for comparison in comparisons]
    gates = {} if gate is None else {"gate": gate_content(gate)}
    return json_text(json.dumps({"comparisons": content, **gates}, indent=1, ensure_ascii=False, allow_nan=False))


def gate_content(gate: Gate) -> dict[str, Any]:
    """A gate as plain JSON values."""
    return dict(_plain(gate))


def _plain(value: Any) -> Any:
    """Of what JSON knows; quantities and rules are their names."""
    if isinstance(value, Quantity):
        return value.name
    if isinstance(value, Rule):
        return value.text
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return finite_or_word(value) if isinstance(value, float) else value
