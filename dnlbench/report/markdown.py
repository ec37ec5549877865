"""Markdown reports for pull requests: the main results first, the rest folded, cut to the size limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.comparison import Comparison, Gate
from dnlbench.escape import markdown
from dnlbench.profiles import Profile
from dnlbench.report.comparison import cell_grids, counted, difference_grid, overall_grid, sentences
from dnlbench.report.gate import gate_grid
from dnlbench.report.grid import Grid
from dnlbench.report.profile import profile_grids

LARGEST_BYTES = 2**20
"""Size limit of a GitHub step summary."""
RESERVED_BYTES = 1024
"""Reserved for the note on omitted tables."""
MAX_UNFOLDED = 6
"""Maximum number of differences shown unfolded."""


def comparison_markdown(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """Return all comparisons in sequence."""
    return within(comparison_parts(comparisons, gate))


def comparison_parts(comparisons: Sequence[Comparison], gate: Gate | None = None) -> list[str]:
    """Return the gate, then each comparison, as parts that can be omitted from the end."""
    return [*_gate_parts(gate), *(part for each in comparisons for part in _comparison_parts(each))]


def profile_markdown(profile: Profile) -> str:
    """Return the tables of a profile."""
    return within(profile_parts(profile)[1:])


def profile_parts(profile: Profile, gate: Gate | None = None) -> list[str]:
    """Return the name of a profile, the gate, then its tables."""
    start = f"### {markdown(profile.name)}, {profile.created:%Y-%m-%d %H:%M} UTC"
    return [start, *_gate_parts(gate), *(grid.to_markdown() for grid in profile_grids(profile))]


def within(parts: Sequence[str], room: int = LARGEST_BYTES) -> str:
    """Join as many parts as fit into ``room`` bytes, with a note on the number of omitted ones.

    Return an empty string if nothing fits.
    """
    full = _joined(parts)
    if len(full.encode()) <= room:
        return full
    used, kept = 0, 0
    for part in parts:
        used += len(part.encode()) + 2
        if used > room - RESERVED_BYTES:
            break
        kept += 1
    missing = len(parts) - kept
    tables = "table" if missing == 1 else "tables"
    note = f"_Size limit reached: {missing} {tables} omitted. Use `--format html -o report.html` for the full report._"
    cut = _joined([*parts[:kept], note])
    return cut if len(cut.encode()) <= room else ""


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _gate_parts(gate: Gate | None) -> Iterator[str]:
    if gate is not None:
        yield gate_grid(gate).to_markdown()


def _comparison_parts(comparison: Comparison) -> Iterator[str]:
    """Yield the overall verdicts, each quantity by depth (folded), and the differences."""
    sentence_items = [f"- **{markdown(network)}**: {markdown(sentence)}" for network, sentence in sentences(comparison)]
    yield "\n".join([f"### {markdown(comparison.candidate)} vs. {markdown(comparison.reference)}", "", *sentence_items])
    yield overall_grid(comparison).to_markdown()
    for quantity, grid in cell_grids(comparison):
        cells = [cell for cell in comparison.cells if cell.quantity == quantity]
        verdicts = counted(cells)
        yield _folded(f"{grid.title} by depth{f': {verdicts}' if verdicts else ''}", grid)
    if differences := difference_grid(comparison):
        count = len(differences.rows)
        few = count <= MAX_UNFOLDED
        yield (
            differences.to_markdown() if few else _folded(f"{count} differences in spec, machine and code", differences)
        )


def _folded(summary: str, grid: Grid) -> str:
    return f"<details>\n<summary>{markdown(summary)}</summary>\n\n{grid.to_markdown()}\n\n</details>"
