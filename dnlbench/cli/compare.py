"""``dnlbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench.cli.output import console, guarded, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from dnlbench.compare import Comparison


@guarded
def compare(
    reference: Annotated[Path, typer.Argument(help="The profile to compare with.")],
    candidates: Annotated[list[Path], typer.Argument(help="One or more profiles to hold against it.")],
    format_: Annotated[
        Literal["table", "markdown", "json", "csv"], typer.Option("--format", help="How to print the result.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("-o", help="Write to a file instead of stdout.")] = None,
) -> None:
    """Compare saved profiles: loss, throughput and memory by network and depth, each with a verdict.

    Exit code 5 if a candidate has nothing in common with the reference that could be compared.
    """
    import io

    from dnlbench.compare import compare as hold_against
    from dnlbench.profiles import read_profile
    from dnlbench.report import comparison as report
    from dnlbench.store import write_atomically

    base = read_profile(reference)
    comparisons = [hold_against(base, read_profile(candidate)) for candidate in candidates]
    if format_ == "table" and output is None:
        import sys

        _print_tables(comparisons, sys.stdout)
        return
    if format_ == "table":
        buffer = io.StringIO()
        _print_tables(comparisons, buffer)
        text = buffer.getvalue()
    else:
        text = {
            "markdown": report.comparison_markdown,
            "csv": report.comparison_csv,
            "json": report.comparison_json,
        }[format_](comparisons)
    if output is None:
        write(text)
    else:
        write_atomically(output, text.encode())


def _print_tables(comparisons: Sequence[Comparison], stream: IO[str]) -> None:
    from dnlbench.report.comparison import comparison_grids, summary_line

    out = console(stream)
    for comparison in comparisons:
        out.print(f"[bold]{comparison.candidate}[/] against [bold]{comparison.reference}[/]\n")
        for grid in comparison_grids(comparison):
            out.print(grid.to_rich())
            out.print()
        out.print(summary_line(comparison))
