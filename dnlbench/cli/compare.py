"""``dnlbench compare``."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench.cli.output import ExitCode, drawn, guarded, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from dnlbench.compare import Comparison


@guarded
def compare(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The profile to compare with.")],
    candidates: Annotated[
        list[Path], typer.Argument(metavar="CANDIDATE", help="One or more profiles to hold against it.")
    ],
    format_: Annotated[
        Literal["table", "markdown", "json", "csv"], typer.Option("--format", help="How to print the result.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("-o", help="Write to a file instead of stdout.")] = None,
) -> None:
    """Compare saved profiles.

    Each quantity of the study (of training: loss, throughput and memory) by network and depth, with a verdict. Exit code 5 if a
    candidate has nothing in common with the reference that could be compared; the others are compared all the same.
    """
    from dnlbench.compare import compare as hold_against
    from dnlbench.errors import NotComparableError
    from dnlbench.profiles import read_profile

    base = read_profile(reference)
    comparisons = []
    for path, candidate in [(path, read_profile(path)) for path in candidates]:
        try:
            comparisons.append(hold_against(base, candidate))
        except NotComparableError as error:
            print(f"dnlbench: error: {path}: not comparable with {reference}: {error}", file=sys.stderr)
    if comparisons:
        _put(comparisons, format_, output)
    if len(comparisons) < len(candidates):
        raise typer.Exit(ExitCode.NOT_COMPARABLE)


def _put(
    comparisons: Sequence[Comparison], format_: Literal["table", "markdown", "json", "csv"], output: Path | None
) -> None:
    from dnlbench.files import write_atomically
    from dnlbench.report import comparison as report

    text = {
        "table": lambda them: _tables(them, io.StringIO() if output else sys.stdout),
        "markdown": report.comparison_markdown,
        "csv": report.comparison_csv,
        "json": report.comparison_json,
    }[format_](comparisons)
    if output is None:
        write(text)
    else:
        write_atomically(output, text.encode())


def _tables(comparisons: Sequence[Comparison], stream: IO[str]) -> str:
    from dnlbench.report.comparison import comparison_grids, summary_line

    parts = []
    for comparison in comparisons:
        parts.append(f"{comparison.candidate} against {comparison.reference}\n")
        parts += [drawn(grid, stream) for grid in comparison_grids(comparison)]
        parts.append(f"{summary_line(comparison)}\n")
    return "\n".join(parts)
