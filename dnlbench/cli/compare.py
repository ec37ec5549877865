"""``dnlbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from dnlbench.cli.gating import OnInconclusive, exit_code, tell
from dnlbench.cli.output import ExitCode, guarded, say, show, write

if TYPE_CHECKING:
    from dnlbench.cli.comparison_formats import Compared

Format: TypeAlias = Literal["table", "markdown", "json", "csv", "html", "junit", "latex"]


@guarded
def compare(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The profile to compare with.")],
    candidates: Annotated[
        list[Path], typer.Argument(metavar="CANDIDATE", help="One or more profiles to hold against it.")
    ],
    format_: Annotated[
        Format, typer.Option("--format", help="How to print the result; html: one page with charts.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("-o", help="Write to a file instead of stdout.")] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="loss:worse, throughput:5%, memory:10%, failed or their like; repeatable."),
    ] = None,
    inconclusive: Annotated[
        OnInconclusive, typer.Option(help="Whether a rule that cannot be decided yet fails, with exit code 4.")
    ] = "warn",
) -> None:
    """Compare saved profiles.

    Each quantity of the study (of training: loss, throughput and memory) by network and depth, and over all depths, with a
    verdict. Exit code 5 if a candidate has nothing in common with the reference that could be compared; the others are
    compared all the same. With --fail-on: 3 if a rule is broken, 4 if one could not be decided and --inconclusive is fail,
    5 if one could not be judged at all.
    """
    from dnlbench.cli.comparison_formats import Compared
    from dnlbench.compare import compare as hold_against
    from dnlbench.compare import gate as hold_to
    from dnlbench.compare import parse_rule
    from dnlbench.errors import NotComparableError
    from dnlbench.noise import known_floors
    from dnlbench.outputs import check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.titles import told_apart

    if output is not None:
        check_output(output, [reference, *candidates])
    base = read_profile(reference)
    rules = [parse_rule(rule, base.study) for rule in fail_on or ()]
    comparisons, compared, files = [], [], []
    for path, candidate in [(path, read_profile(path)) for path in candidates]:
        try:
            comparisons.append(hold_against(base, candidate))
            compared.append(candidate)
            files.append(path)
        except NotComparableError as error:
            say(f"dnlbench: error: {path}: not comparable with {reference}: {error}")
    comparisons = told_apart(comparisons, reference, files)
    gate = hold_to(comparisons, rules, known_floors(base)) if rules else None
    if comparisons:
        _put(Compared(reference=base, candidates=compared, comparisons=comparisons, gate=gate), format_, output)
    if gate:
        tell(gate)
    code = exit_code(gate, inconclusive) if gate else ExitCode.OK
    if len(comparisons) < len(candidates) and code != ExitCode.REGRESSION:
        code = ExitCode.NOT_COMPARABLE
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _put(compared: Compared, format_: Format, output: Path | None) -> None:
    from dnlbench.cli.comparison_formats import FORMATS, comparison_tables
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.outputs import write_output
    from dnlbench.report.markdown import comparison_parts

    if output is not None:
        write_output(output, FORMATS[format_](compared).encode())
    elif format_ == "table":
        show(*comparison_tables(compared))
    else:
        write(FORMATS[format_](compared))
    add_to_step_summary(comparison_parts(compared.comparisons, compared.gate))
