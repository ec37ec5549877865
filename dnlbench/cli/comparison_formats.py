"""What ``dnlbench compare`` has found, in each of its formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dnlbench.cli.output import drawn
from dnlbench.compare import Comparison, Gate
from dnlbench.profiles import Profile
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_json, summary_line
from dnlbench.report.grid import Grid
from dnlbench.report.html import comparison_html
from dnlbench.report.junit import comparison_junit
from dnlbench.report.latex import comparison_latex
from dnlbench.report.markdown import comparison_markdown


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Profiles with what was found."""

    reference: Profile
    candidates: Sequence[Profile]
    comparisons: Sequence[Comparison]
    """One for each candidate."""
    gate: Gate | None = None
    """None if nothing was asked to fail on."""


FORMATS: Mapping[str, Callable[[Compared], str]] = {
    "table": lambda c: drawn(comparison_tables(c)),
    "markdown": lambda c: comparison_markdown(c.comparisons, c.gate),
    "csv": lambda c: comparison_csv(c.comparisons, c.gate),
    "json": lambda c: comparison_json(c.comparisons, c.gate),
    "html": lambda c: comparison_html(c.reference, c.candidates, c.comparisons, c.gate),
    "junit": lambda c: comparison_junit(c.candidates, c.comparisons, c.gate),
    "latex": lambda c: comparison_latex(c.comparisons),
}


def comparison_tables(compared: Compared) -> Iterator[Grid | str]:
    """Tables and text for a terminal."""
    for comparison in compared.comparisons:
        yield f"{comparison.candidate} against {comparison.reference}"
        yield from comparison_grids(comparison)
        yield summary_line(comparison)
