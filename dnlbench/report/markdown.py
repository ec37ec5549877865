"""Reports as Markdown that fits a pull request: what matters first, the rest folded, never longer than there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dnlbench.compare import Comparison, Gate
from dnlbench.escape import markdown
from dnlbench.profiles import Profile
from dnlbench.report.comparison import cell_grids, counted, difference_grid, overall_grid, sentences
from dnlbench.report.gate import gate_grid
from dnlbench.report.grid import Grid
from dnlbench.report.profile import profile_grids

LARGEST_BYTES = 2**20
"""What GitHub takes as the summary of a step."""
RESERVED_BYTES = 1024
"""For the note on what was left out."""
FEW_DIFFERENCES = 6
"""More of them are folded."""


def comparison_markdown(comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """All comparisons, one after the other."""
    return within(comparison_parts(comparisons, gate))


def comparison_parts(comparisons: Sequence[Comparison], gate: Gate | None = None) -> list[str]:
    """What the gate says, then each comparison; cut between two parts, and the rest is still whole."""
    return [*_gate_parts(gate), *(part for each in comparisons for part in _comparison_parts(each))]


def profile_markdown(profile: Profile) -> str:
    """The tables of a profile."""
    return within(profile_parts(profile)[1:])


def profile_parts(profile: Profile, gate: Gate | None = None) -> list[str]:
    """Its name, what the gate says, then its tables."""
    start = f"### {markdown(profile.name)}, {profile.created:%Y-%m-%d %H:%M} UTC"
    return [start, *_gate_parts(gate), *(grid.to_markdown() for grid in profile_grids(profile))]


def within(parts: Sequence[str], room: int = LARGEST_BYTES) -> str:
    """As many of the parts as there is room for, in bytes, and a line on how many are missing.

    Empty if there is no room for anything.
    """
    whole = _joined(parts)
    if len(whole.encode()) <= room:
        return whole
    used, kept = 0, 0
    for part in parts:
        used += len(part.encode()) + 2
        if used > room - RESERVED_BYTES:
            break
        kept += 1
    missing = len(parts) - kept
    tables = "table" if missing == 1 else "tables"
    note = f"_{missing} more {tables} would exceed the limit; `--format html -o report.html` shows all._"
    cut = _joined([*parts[:kept], note])
    return cut if len(cut.encode()) <= room else ""


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"


def _gate_parts(gate: Gate | None) -> Iterator[str]:
    if gate is not None:
        yield gate_grid(gate).to_markdown()


def _comparison_parts(comparison: Comparison) -> Iterator[str]:
    """The overall verdicts; each quantity by depth, folded; what differs."""
    said = [f"- **{markdown(network)}**: {markdown(sentence)}" for network, sentence in sentences(comparison)]
    yield "\n".join([f"### {markdown(comparison.candidate)} against {markdown(comparison.reference)}", "", *said])
    yield overall_grid(comparison).to_markdown()
    for quantity, grid in cell_grids(comparison):
        cells = [cell for cell in comparison.cells if cell.quantity == quantity]
        verdicts = counted(cells)
        yield _folded(f"{grid.title} by depth{f': {verdicts}' if verdicts else ''}", grid)
    if differences := difference_grid(comparison):
        count = len(differences.rows)
        few = count <= FEW_DIFFERENCES
        yield (
            differences.to_markdown() if few else _folded(f"{count} differences of spec, machine and code", differences)
        )


def _folded(summary: str, grid: Grid) -> str:
    return f"<details>\n<summary>{markdown(summary)}</summary>\n\n{grid.to_markdown()}\n\n</details>"
