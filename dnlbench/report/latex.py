"""LaTeX tables for papers, with booktabs: a row for each network and depth, units in the heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench import units
from dnlbench.comparison import Cell, Comparison, Overall
from dnlbench.profiles import Profile
from dnlbench.report.contrasts import contrast_grids
from dnlbench.report.grid import Column, Grid
from dnlbench.report.runs import left_out_notes
from dnlbench.report.tuning import tuned_grids
from dnlbench.report.values import both_ends, ratio_text, verdict_text
from dnlbench.stats import Interval
from dnlbench.studies import Quantity

PREAMBLE = "% In the preamble: \\usepackage{booktabs}"
_INTERVAL = "mean over seeds ± half-width of its 95 % t interval"
_POWERS = {1e3: "10³ ", 1e6: "10⁶ ", 1e9: "10⁹ ", 1e12: "10¹² "}


def profile_latex(profile: Profile) -> str:
    """Return the results by network and depth, a table for each group of further quantities, and the contrasts."""
    shown = [q for q in profile.declared.quantities if any(q.name in p.quantities for p in profile.summary.points)]
    tables = [
        _profile_grid(profile, [quantity for quantity in shown if quantity.table == title], title)
        for title in dict.fromkeys(quantity.table for quantity in shown)
    ]
    return _document([*tuned_grids(profile), *tables, *contrast_grids(profile)])


def comparison_latex(comparisons: Sequence[Comparison]) -> str:
    """Return a table for each quantity: reference, candidate, ratio and verdict, at each depth and over all depths."""
    return _document(
        _comparison_grid(comparison, quantity)
        for comparison in comparisons
        for quantity in dict.fromkeys(cell.quantity for cell in comparison.cells)
    )


def _document(grids: Iterable[Grid]) -> str:
    return "\n\n".join([PREAMBLE, *(grid.to_latex() for grid in grids)]) + "\n"


def _profile_grid(profile: Profile, shown: Sequence[Quantity], title: str) -> Grid:
    points = profile.summary.points
    intervals = [[p.quantities[q.name].interval if q.name in p.quantities else None for p in points] for q in shown]
    columns, cells = zip(*(_column(q, q.label, each) for q, each in zip(shown, intervals, strict=True)), strict=True)
    rows = [[p.series, str(p.depth), *values] for p, *values in zip(points, *cells, strict=True)]
    return Grid(
        title=f"{title or profile.declared.title} {profile.name}",
        columns=[Column(head="network"), Column(head="L", numeric=True), *columns],
        rows=rows,
        note="\n".join([_INTERVAL + both_ends(rows), *left_out_notes(profile)]),
    )


def _comparison_grid(comparison: Comparison, quantity: Quantity) -> Grid:
    """Return a row for each cell, and one for each network over all its depths if there is more than one."""
    cells = [cell for cell in comparison.cells if cell.quantity == quantity]
    overall = {result.network: result for result in comparison.overall if result.quantity == quantity}
    entries: list[Cell | Overall] = []
    for network in dict.fromkeys(cell.network for cell in cells):
        entries += [cell for cell in cells if cell.network == network]
        entries += [overall[network]] if network in overall and len(overall[network].depths) > 1 else []
    intervals = [each.reference if isinstance(each, Cell) else None for each in entries]
    intervals += [each.candidate if isinstance(each, Cell) else None for each in entries]
    column, texts = _column(quantity, "", intervals)
    rows = [
        [
            each.network,
            *((str(each.depth), reference, candidate) if isinstance(each, Cell) else ("all", "", "")),
            ratio_text(each.ratio),
            verdict_text(each.verdict),
        ]
        for each, reference, candidate in zip(entries, texts[: len(entries)], texts[len(entries) :], strict=True)
    ]
    heads = ("L", f"reference{column.head}", f"candidate{column.head}", "ratio [95 % CI]")
    return Grid(
        title=f"{quantity.label[0].upper()}{quantity.label[1:]}: {comparison.candidate} (candidate) vs. "
        f"{comparison.reference} (reference)",
        columns=[Column(head="network"), *(Column(head=head, numeric=True) for head in heads), Column(head="verdict")],
        rows=rows,
        note=_INTERVAL + both_ends(row[2:4] for row in rows),
    )


def _column(quantity: Quantity, label: str, intervals: Sequence[Interval | None]) -> tuple[Column, list[str]]:
    """Format means with intervals in the unit that suits the largest; the head names the unit."""
    means = [interval.estimate for interval in intervals if interval]
    divisor, unit = 1.0, quantity.unit
    if quantity.shown_as == "percent":
        divisor, unit = 0.01, "%"
    elif quantity.shown_as == "count":
        divisor = units.scale_for(means, "count")[0]
        unit = f"{_POWERS.get(divisor, '')}{unit}"
    elif quantity.shown_as == "bytes":
        divisor, unit = units.scale_for(means, "bytes")
    texts = [units.NOTHING if each is None else _divided(each, divisor) for each in intervals]
    return Column(head=f"{label} ({unit})" if unit else label, numeric=True), texts


def _divided(interval: Interval, divisor: float) -> str:
    low, high = (None if bound is None else bound / divisor for bound in (interval.low, interval.high))
    return units.estimated(interval.estimate / divisor, low, high)
