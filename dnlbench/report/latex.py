"""Tables for papers: LaTeX with booktabs, a row for each network and depth, units in the head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dnlbench import units
from dnlbench.compare import Cell, Comparison, Overall
from dnlbench.escape import latex
from dnlbench.profiles import PointSummary, Profile
from dnlbench.report import quantities
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.grid import Grid
from dnlbench.report.nodes import left_out_notes
from dnlbench.report.ratios import ratio_text
from dnlbench.stats import Interval
from dnlbench.studies import STUDIES, Quantity

PREAMBLE = "% In the preamble: \\usepackage{booktabs}"
_INTERVAL = "$\\pm$ half of its 95\\,\\% $t$ interval"
_POWERS = {"": "", "k": "$10^3$ ", "M": "$10^6$ ", "G": "$10^9$ ", "T": "$10^{12}$ "}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What all values of a column are divided by, so that they share a unit."""

    factor: float
    unit: str
    """LaTeX already; empty for pure numbers."""


def profile_latex(profile: Profile) -> str:
    """The result by network and depth; further quantities of the study in tables of their own."""
    shown = [
        q for q in STUDIES[profile.study].quantities if any(q.name in p.quantities for p in profile.summary.points)
    ]
    tables = [
        _profile_table(profile, [quantity for quantity in shown if quantity.table == title], title)
        for title in dict.fromkeys(quantity.table for quantity in shown)
    ]
    return "\n\n".join([PREAMBLE, *tables, *map(_contrast_table, contrast_grids(profile))]) + "\n"


def _contrast_table(grid: Grid) -> str:
    """A table of contrasts, with its note in the caption."""
    heads = [
        head.replace("[95 %]", "{[}95\\,\\%]") if "[" in head else latex(head)
        for head in (c.head for c in grid.columns)
    ]
    rows = [[latex(row[0]), *(_figures(cell) for cell in row[1:])] for row in grid.rows]
    columns = "".join("r" if column.figures else "l" for column in grid.columns)
    caption = f"{latex(grid.title)}: {'; '.join(map(latex, grid.note.splitlines()))}."
    return _table(heads, columns, rows, caption)


def comparison_latex(comparisons: Sequence[Comparison]) -> str:
    """A table for each quantity: both sides, their ratio and the verdict, at each depth and over all of them."""
    tables = [
        _comparison_table(comparison, quantity)
        for comparison in comparisons
        for quantity in dict.fromkeys(cell.quantity for cell in comparison.cells)
    ]
    return "\n\n".join([PREAMBLE, *tables]) + "\n"


def _profile_table(profile: Profile, shown: Sequence[Quantity], title: str) -> str:
    scales = {
        q: scale_of(q, [p.quantities[q.name].mean for p in profile.summary.points if q.name in p.quantities])
        for q in shown
    }
    rows = [
        [latex(point.network), str(point.depth), *(_cell(point, quantity, scales[quantity]) for quantity in shown)]
        for point in profile.summary.points
    ]
    heads = ["network", "$L$", *(_head(quantity, scales[quantity]) for quantity in shown)]
    asked = latex(title or STUDIES[profile.study].question)
    caption = f"{asked} {latex(profile.name)}: mean over seeds {_INTERVAL}{quantities.both_ends(rows)}."
    caption += "".join(f" {latex(note[0].upper() + note[1:])}." for note in left_out_notes(profile))
    return _table(heads, "l" + "r" * (len(heads) - 1), rows, caption)


def _cell(point: PointSummary, quantity: Quantity, scale: Scale) -> str:
    record = point.quantities.get(quantity.name)
    return value(record.interval if record else None, scale)


def _comparison_table(comparison: Comparison, quantity: Quantity) -> str:
    cells = [cell for cell in comparison.cells if cell.quantity == quantity]
    overall = {figure.network: figure for figure in comparison.overall if figure.quantity == quantity}
    means = [side.estimate for cell in cells for side in (cell.reference, cell.candidate) if side]
    scale = scale_of(quantity, means)
    rows = []
    for network, own in groupby(sorted(cells, key=lambda cell: _place(cells, cell)), key=lambda cell: cell.network):
        rows += [_comparison_row(cell, scale) for cell in own]
        rows += [_overall_row(overall[network])] if network in overall and len(overall[network].depths) > 1 else []
    heads = ["network", "$L$", "reference", "candidate", "ratio {[}95\\,\\%]", "verdict"]
    interval = f"{_INTERVAL}{quantities.both_ends(row[2:4] for row in rows)}"
    caption = (
        f"{latex(quantity.label[0].upper() + quantity.label[1:])}: {latex(comparison.candidate)} (candidate) against "
        f"{latex(comparison.reference)} (reference); mean over seeds {interval}."
    )
    heads[2:4] = [f"{head} ({scale.unit})" if scale.unit else head for head in heads[2:4]]
    return _table(heads, "lrrrrl", rows, caption)


def _place(cells: Sequence[Cell], cell: Cell) -> int:
    """Of its network, in the order in which the comparison has them."""
    return list(dict.fromkeys(each.network for each in cells)).index(cell.network)


def _comparison_row(cell: Cell, scale: Scale) -> list[str]:
    sides = (value(cell.reference, scale), value(cell.candidate, scale))
    return [
        latex(cell.network),
        str(cell.depth),
        *sides,
        _figures(ratio_text(cell.ratio)),
        latex(quantities.verdict_text(cell.verdict)),
    ]


def _overall_row(figure: Overall) -> list[str]:
    return [
        latex(figure.network),
        "all",
        "",
        "",
        _figures(ratio_text(figure.ratio)),
        latex(quantities.verdict_text(figure.verdict)),
    ]


def scale_of(quantity: Quantity, means: Sequence[float]) -> Scale:
    """One that makes the largest of the values easy to read."""
    divisor, unit = units.scale_for(means, quantity.shown_as)
    if quantity.shown_as == "count":
        return Scale(factor=divisor, unit=_POWERS[unit] + latex(quantity.unit))
    return Scale(factor=divisor, unit=latex(unit or quantity.unit))


def value(interval: Interval | None, scale: Scale) -> str:
    """A mean with its interval."""
    if interval is None:
        return "--"
    low, high = (None if bound is None else bound / scale.factor for bound in (interval.low, interval.high))
    return _figures(units.estimated(interval.estimate / scale.factor, low, high))


def _figures(text: str) -> str:
    """Numbers as LaTeX writes them: minus signs, and powers of ten."""
    powers = re.sub(r"e([+-])0*(\d+)", lambda found: f"E{'-' if found[1] == '-' else ''}{found[2]}", text)
    signed = latex(re.sub(r"(?<![\dE])-(?=\d)", "−", powers))
    return re.sub(r"E(-?\d+)", r"$\\cdot10^{\1}$", signed)


def _head(quantity: Quantity, scale: Scale) -> str:
    return f"{latex(quantity.label)} ({scale.unit})" if scale.unit else latex(quantity.label)


def _table(heads: Sequence[str], columns: str, rows: Sequence[Sequence[str]], caption: str) -> str:
    return "\n".join(
        [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{caption}}}",
            f"  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            "    \\toprule",
            f"    {' & '.join(heads)} \\\\",
            "    \\midrule",
            *_body(rows),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
    )


def _body(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A little room between networks."""
    for place, row in enumerate(rows):
        if place and row[0] != rows[place - 1][0]:
            yield "    \\addlinespace"
        yield f"    {' & '.join(row)} \\\\"
