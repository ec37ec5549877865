"""``dnlbench compare``."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench.cli.output import ExitCode, guarded, write

if TYPE_CHECKING:
    from dnlbench.cli.comparison_formats import Compared

ComparisonFormat = Literal["table", "markdown", "json", "csv", "html", "junit", "latex"]


@guarded
def compare(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The profile to compare with.")],
    candidates: Annotated[
        list[Path], typer.Argument(metavar="CANDIDATE", help="One or more profiles to hold against it.")
    ],
    format_: Annotated[
        ComparisonFormat, typer.Option("--format", help="How to print the result; html is one page with charts.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("-o", help="Write to a file instead of stdout.")] = None,
) -> None:
    """Compare saved profiles.

    Each quantity of the study (of training: loss, throughput and memory) by network and depth, with a verdict. Exit code 5 if a
    candidate has nothing in common with the reference that could be compared; the others are compared all the same.
    """
    from dnlbench.cli.comparison_formats import Compared
    from dnlbench.compare import compare as hold_against
    from dnlbench.errors import NotComparableError
    from dnlbench.profiles import read_profile

    base = read_profile(reference)
    comparisons, compared = [], []
    for path, candidate in [(path, read_profile(path)) for path in candidates]:
        try:
            comparisons.append(hold_against(base, candidate))
            compared.append(candidate)
        except NotComparableError as error:
            print(f"dnlbench: error: {path}: not comparable with {reference}: {error}", file=sys.stderr)
    if comparisons:
        _put(Compared(reference=base, candidates=compared, comparisons=comparisons), format_, output)
    if len(comparisons) < len(candidates):
        raise typer.Exit(ExitCode.NOT_COMPARABLE)


def _put(compared: Compared, format_: ComparisonFormat, output: Path | None) -> None:
    from dnlbench.cli.comparison_formats import comparison_text
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.files import write_atomically
    from dnlbench.report.markdown import comparison_parts

    text = comparison_text(compared, format_, io.StringIO() if output else sys.stdout)
    if output is None:
        write(text)
    else:
        write_atomically(output, text.encode())
    add_to_step_summary(comparison_parts(compared.comparisons, compared.gate))
