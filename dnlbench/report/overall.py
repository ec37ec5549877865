"""What comparisons come to: a verdict for each network and quantity, a sentence for each network, and a gate's findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench import units
from dnlbench.compare import Cell, Comparison, Finding, Gate, Overall
from dnlbench.report.grid import Column, Grid
from dnlbench.report.ratios import ratio


def overall_grid(comparison: Comparison) -> Grid | None:
    """A row for each network and quantity, over all depths; None where there is nothing to say."""
    if not comparison.overall:
        return None
    columns = [
        Column(head="network", whole=True),
        Column(head="quantity"),
        Column(head="over L", figures=True, dispensable=1),
        Column(head="ratio [95 %]", figures=True),
        Column(head="p", figures=True, dispensable=2),
        Column(head="verdict", whole=True),
    ]
    networks = dict.fromkeys(figure.network for figure in comparison.overall)
    figures = [figure for network in networks for figure in comparison.overall if figure.network == network]
    return Grid(title="Overall", columns=columns, rows=[_row(f) for f in figures], note="\n".join(_notes(figures)))


def sentences(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Each network with what holds of it, in one sentence."""
    for network in dict.fromkeys(figure.network for figure in comparison.overall):
        own = [figure for figure in comparison.overall if figure.network == network]
        yield network, f"{'; '.join(_phrase(figure) for figure in own)}."


def gate_grid(gate: Gate) -> Grid:
    """Each finding, those that fail first."""
    several = len({finding.candidate for finding in gate.findings}) > 1
    ranks = {"fail": 0, "not comparable": 1, "inconclusive": 2, "pass": 3}
    found = sorted(gate.findings, key=lambda finding: ranks[finding.outcome])
    columns = [
        Column(head="rule", whole=True),
        *([Column(head="candidate")] if several else []),
        Column(head="network", whole=True),
        Column(head="over L", figures=True, dispensable=1),
        Column(head="worse by [95 %]", figures=True),
        Column(head="p", figures=True, dispensable=2),
        Column(head="outcome", whole=True),
        Column(head="reason"),
    ]
    rows = [_finding_row(finding, several=several) for finding in found]
    note = (
        "worse by: a factor, above 1 is worse; p: one-sided, that it is no worse than the rule allows, adjusted by Holm"
    )
    return Grid(title=f"Gate: {gate.outcome}", columns=columns, rows=rows, note=note)


def counted(cells: Sequence[Cell]) -> str:
    """How many cells have each verdict."""
    verdicts = [cell.verdict for cell in cells]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def p_value(p: float | None) -> str:
    """To the thousandth, which is finer than any decision needs."""
    if p is None:
        return units.NOTHING
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def _row(figure: Overall) -> list[str]:
    return [
        figure.network,
        figure.quantity.label,
        _depths(figure.depths),
        ratio(figure.ratio),
        p_value(figure.p_adjusted),
        figure.verdict,
    ]


def _finding_row(finding: Finding, *, several: bool) -> list[str]:
    return [
        finding.rule.text,
        *([finding.candidate] if several else []),
        finding.network,
        _depths(finding.depths),
        ratio(finding.effect),
        p_value(finding.p_adjusted),
        finding.outcome,
        finding.reason,
    ]


def _depths(depths: Sequence[int]) -> str:
    return ", ".join(map(str, depths)) or units.NOTHING


def _notes(figures: Sequence[Overall]) -> Iterator[str]:
    yield (
        "ratio = candidate / reference: over depths a geometric mean within each seed, over seeds a t interval; "
        "p: two-sided, that it is 1, adjusted by Holm over the networks"
    )
    for text in dict.fromkeys(
        text for figure in figures for text in (figure.reason, figure.left_out, figure.advisory) if text
    ):
        where = [f"{f.network}, {f.quantity.label}" for f in figures if text in (f.reason, f.left_out, f.advisory)]
        yield f"{'; '.join(where) if len(where) <= 3 else f'{len(where)} rows'}: {text}"


def _phrase(figure: Overall) -> str:
    """Of one quantity: the verdict, with how large the difference is."""
    start = f"{figure.quantity.label} {figure.verdict}"
    if figure.verdict == "not comparable" or figure.ratio is None:
        return f"{start} ({figure.reason or figure.advisory})"
    hint = ", a hint only" if figure.advisory else ""
    failed = f", {figure.reason}" if figure.verdict == "worse" and figure.reason else ""
    return f"{start}, × {ratio(figure.ratio)}{hint}{failed}"
