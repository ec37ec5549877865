"""Output formats by name: what each one renders, for every command with ``--format``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dnlbench.comparison import Comparison, Gate
from dnlbench.diagnosis import Diagnosis
from dnlbench.errors import ConfigurationError
from dnlbench.escape import json_text
from dnlbench.profiles import Profile
from dnlbench.registry import DeclaredParts
from dnlbench.report.comparison import comparison_csv, comparison_grids, comparison_json, summary_line
from dnlbench.report.diagnosis import diagnosis_csv, diagnosis_grids, diagnosis_header, diagnosis_markdown
from dnlbench.report.export import Labeled, Table
from dnlbench.report.export.parquet import to_parquet
from dnlbench.report.export.tensorboard import write_runs
from dnlbench.report.export.text import to_csv, to_json_lines
from dnlbench.report.grid import Grid
from dnlbench.report.html import comparison_html, profile_html
from dnlbench.report.junit import comparison_junit
from dnlbench.report.latex import comparison_latex, profile_latex
from dnlbench.report.markdown import comparison_markdown, profile_markdown
from dnlbench.report.profile import profile_csv, profile_grids, profile_header

Report = str | Sequence[Grid | str]
"""Finished text, or a list of tables and texts to render."""
Content = Literal["profile", "comparison", "diagnosis", "export"]
_TITLES = {"profile": "profiles", "comparison": "comparisons", "diagnosis": "diagnoses", "export": "exports"}


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


@dataclass(frozen=True, kw_only=True)
class Format:
    """The declaration of an output format: a function for each content that it renders."""

    summary: str
    suffix: str = ""
    """Suffix of its files, ``.html``. A command without ``--format`` chooses the format by the suffix of its file."""
    profile: Callable[[Profile], Report] | None = None
    """Renders a profile for ``dnlbench profiles show``."""
    comparison: Callable[[Compared], Report] | None = None
    """Renders comparisons for ``dnlbench compare``."""
    diagnosis: Callable[[Diagnosis], Report] | None = None
    """Renders a diagnosis for ``dnlbench diagnose``."""
    export: Callable[[Table, Sequence[Labeled]], bytes] | None = None
    """Returns a file with the rows of profiles, for ``dnlbench profiles export``."""
    export_folder: Callable[[Sequence[Labeled], Path], int] | None = None
    """Writes profiles into a new folder and returns the number of runs, for ``dnlbench profiles export``."""

    def renders(self, content: Content) -> bool:
        """Return true if the format has a function for the content."""
        return getattr(self, content) is not None or (content == "export" and self.export_folder is not None)


FORMATS = DeclaredParts(
    kind="format",
    built_in={
        "table": Format(
            summary="Tables for the terminal.",
            profile=lambda profile: [profile_header(profile), *profile_grids(profile)],
            comparison=Compared.tables,
            diagnosis=lambda diagnosis: [diagnosis_header(diagnosis), *diagnosis_grids(diagnosis)],
        ),
        "markdown": Format(
            summary="Tables in Markdown.",
            suffix=".md",
            profile=profile_markdown,
            comparison=lambda c: comparison_markdown(c.comparisons, c.gate),
            diagnosis=diagnosis_markdown,
        ),
        "json": Format(
            summary="All values as one JSON object.",
            suffix=".json",
            profile=lambda profile: json_text(profile.to_json().decode()),
            comparison=lambda c: comparison_json(c.comparisons, c.gate),
            diagnosis=lambda diagnosis: json_text(diagnosis.to_json()),
        ),
        "csv": Format(
            summary="Rows of comma-separated values.",
            suffix=".csv",
            profile=profile_csv,
            comparison=lambda c: comparison_csv(c.comparisons, c.gate),
            diagnosis=diagnosis_csv,
            export=lambda table, profiles: to_csv(table).encode(),
        ),
        "html": Format(
            summary="A single page with charts.",
            suffix=".html",
            profile=profile_html,
            comparison=lambda c: comparison_html(c.reference, c.candidates, c.comparisons, c.gate),
        ),
        "latex": Format(
            summary="Tables for a paper.",
            suffix=".tex",
            profile=profile_latex,
            comparison=lambda c: comparison_latex(c.comparisons),
        ),
        "junit": Format(
            summary="A test report for CI systems.",
            suffix=".xml",
            comparison=lambda c: comparison_junit(c.candidates, c.comparisons, c.gate),
        ),
        "jsonl": Format(
            summary="A JSON object for each row.",
            suffix=".jsonl",
            export=lambda table, profiles: to_json_lines(table).encode(),
        ),
        "parquet": Format(
            summary="Typed columns with the metadata of the profiles.", suffix=".parquet", export=to_parquet
        ),
        "tensorboard": Format(
            summary="A folder with event files for each run, for TensorBoard.", export_folder=write_runs
        ),
    },
    declaration=Format,
)
"""Output formats by their name in ``--format``."""


def choose_format(content: Content, name: str | None, output: Path | None) -> Format:
    """Return the named format, else the one with the suffix of the output file, else tables.

    Raises:
        ConfigurationError: if there is no such format, or if it does not render the content.
    """
    if name is None:
        by_suffix = {each.suffix: each for each in FORMATS.usable().values() if each.suffix and each.renders(content)}
        chosen = by_suffix.get(output.suffix.lower() if output else "", FORMATS["table"])
    else:
        chosen = FORMATS.choose(name, "--format")
    if chosen.renders(content):
        return chosen
    others = ", ".join(known for known, each in FORMATS.usable().items() if each.renders(content))
    if name is None:
        raise ConfigurationError(f"-o {output}: add --format; no format has this suffix. Choose {others}")
    raise ConfigurationError(f"--format {name}: does not render {_TITLES[content]}; choose {others}")
