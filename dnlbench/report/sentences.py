"""What a comparison comes to, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.compare import Cell, Comparison, Overall
from dnlbench.report.ratios import ratio_text


def sentences(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Each network with what holds of it, in one sentence."""
    for network in dict.fromkeys(figure.network for figure in comparison.overall):
        own = [figure for figure in comparison.overall if figure.network == network and figure.verdict is not None]
        yield network, f"{'; '.join(_phrase(figure) for figure in own)}."


def counted(cells: Sequence[Cell]) -> str:
    """How many cells have each verdict."""
    verdicts = [cell.verdict for cell in cells if cell.verdict is not None]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def _phrase(figure: Overall) -> str:
    """Of one quantity: the verdict, with how large the difference is."""
    start = f"{figure.quantity.label} {figure.verdict}"
    ratio = f", × {ratio_text(figure.ratio)}" if figure.ratio else ""
    if figure.verdict == "not comparable" or figure.ratio is None:
        return f"{start}{ratio} ({figure.reason})"
    failed = f", {figure.reason}" if figure.verdict == "worse" and figure.reason else ""
    return f"{start}{ratio}{failed}"
