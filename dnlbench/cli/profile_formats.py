"""What ``dnlbench profiles show`` has to show, in each of its formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dnlbench.cli.output import drawn
from dnlbench.escape import json_text
from dnlbench.profiles import Profile
from dnlbench.report.html import profile_html
from dnlbench.report.latex import profile_latex
from dnlbench.report.markdown import profile_markdown
from dnlbench.report.profile import profile_csv, profile_facts, profile_grids


def profile_text(profile: Profile, format_: str) -> str:
    """As it is written to a file; a table is as wide as in a pipe."""
    return FORMATS[format_](profile)


def _tables(profile: Profile) -> str:
    return drawn([profile_facts(profile), *profile_grids(profile)])


FORMATS: Mapping[str, Callable[[Profile], str]] = {
    "table": _tables,
    "markdown": profile_markdown,
    "json": lambda profile: json_text(profile.to_json().decode()),
    "csv": profile_csv,
    "html": profile_html,
    "latex": profile_latex,
}
