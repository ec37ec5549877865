"""Reports of commands in each of their formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnlbench.cli.output import render, show, write
from dnlbench.comparison import Comparison, Gate
from dnlbench.diagnosis import Diagnosis
from dnlbench.escape import json_text
from dnlbench.outputs import write_output
from dnlbench.profiles import Profile
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_json, summary_line
from dnlbench.report.diagnosis import diagnosis_csv, diagnosis_grids, diagnosis_header, diagnosis_markdown
from dnlbench.report.grid import Grid
from dnlbench.report.html import comparison_html, profile_html
from dnlbench.report.junit import comparison_junit
from dnlbench.report.latex import comparison_latex, profile_latex
from dnlbench.report.markdown import comparison_markdown, profile_markdown
from dnlbench.report.profile import profile_csv, profile_grids, profile_header

Report = str | Sequence[Grid | str]
"""Finished text, or a list of tables and texts to render."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Profiles and their comparisons."""

    reference: Profile
    candidates: Sequence[Profile]
    comparisons: Sequence[Comparison]
    """A comparison for each candidate."""
    gate: Gate | None = None
    """None without rules."""

    def tables(self) -> list[Grid | str]:
        parts: list[Grid | str] = []
        for comparison in self.comparisons:
            heading = f"{comparison.candidate} vs. {comparison.reference}"
            parts += [heading, *comparison_grids(comparison), summary_line(comparison)]
        return parts


COMPARISON: Mapping[str, Callable[[Compared], Report]] = {
    "table": Compared.tables,
    "markdown": lambda c: comparison_markdown(c.comparisons, c.gate),
    "csv": lambda c: comparison_csv(c.comparisons, c.gate),
    "json": lambda c: comparison_json(c.comparisons, c.gate),
    "html": lambda c: comparison_html(c.reference, c.candidates, c.comparisons, c.gate),
    "junit": lambda c: comparison_junit(c.candidates, c.comparisons, c.gate),
    "latex": lambda c: comparison_latex(c.comparisons),
}
PROFILE: Mapping[str, Callable[[Profile], Report]] = {
    "table": lambda profile: [profile_header(profile), *profile_grids(profile)],
    "markdown": profile_markdown,
    "json": lambda profile: json_text(profile.to_json().decode()),
    "csv": profile_csv,
    "html": profile_html,
    "latex": profile_latex,
}
DIAGNOSIS: Mapping[str, Callable[[Diagnosis], Report]] = {
    "table": lambda diagnosis: [diagnosis_header(diagnosis), *diagnosis_grids(diagnosis)],
    "markdown": diagnosis_markdown,
    "json": lambda diagnosis: json_text(diagnosis.to_json()),
    "csv": diagnosis_csv,
}


def put(report: Report, output: Path | None) -> None:
    """Write a report to a file, or to stdout with tables as wide as the terminal."""
    if output is not None:
        write_output(output, (report if isinstance(report, str) else render(report)).encode())
    elif isinstance(report, str):
        write(report)
    else:
        show(*report)
