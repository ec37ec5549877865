"""What ``dnlbench compare`` has found, in each of its formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from dnlbench.cli.output import drawn
from dnlbench.compare import Comparison, Gate
from dnlbench.profiles import Profile
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_json, summary_line
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
    "markdown": lambda c: comparison_markdown(c.comparisons, c.gate),
    "csv": lambda c: comparison_csv(c.comparisons, c.gate),
    "json": lambda c: comparison_json(c.comparisons, c.gate),
    "html": lambda c: comparison_html(c.reference, c.candidates, c.comparisons, c.gate),
    "junit": lambda c: comparison_junit(c.candidates, c.comparisons, c.gate),
    "latex": lambda c: comparison_latex(c.comparisons),
}
"""All but the table, which depends on where it is shown."""


def comparison_text(compared: Compared, format_: str, stream: IO[str]) -> str:
    """As it is printed to the stream, whose width decides on a table."""
    return FORMATS[format_](compared) if format_ in FORMATS else "\n".join(_tables(compared, stream))


def _tables(compared: Compared, stream: IO[str]) -> Iterator[str]:
    for comparison in compared.comparisons:
        yield f"{comparison.candidate} against {comparison.reference}\n"
        for grid in comparison_grids(comparison):
            yield drawn(grid, stream)
        yield f"{summary_line(comparison)}\n"
