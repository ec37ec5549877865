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
        typer.Option(
            metavar="RULE",
            help="Exit with code 3 if RULE is violated: loss:worse, throughput:5%, failed, …; within the candidate "
            "depth:loss:worse or network:loss:worse. Repeatable.",
        ),
    ] = None,
    twin: Annotated[
        Path | None,
        typer.Option(
            metavar="PROFILE",
            help="The reference run with train.nudge_ulps=1: measures rounding, which is no difference.",
        ),
    ] = None,
    inconclusive: OnInconclusive = "warn",
    match: Annotated[
        Literal["network", "depth"],
        typer.Option(help="Compare points of equal network and depth, or two networks at equal depth."),
    ] = "network",
    networks: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE,CANDIDATE",
            help="With --match depth: the network of each side. Not needed if every profile has one network.",
        ),
    ] = None,
) -> None:
    """Compare saved profiles.

    Each quantity of the study (of training: loss, throughput and memory) by network and depth, and over all depths, with a
    verdict. With --match depth, one network of the reference and one of the candidate at equal depth; name a profile twice to
    compare two of its networks. Exit code 5 if a candidate has nothing in common with the reference that could be compared;
    the others are compared all the same. With --fail-on: 3 if a rule is broken, 4 if one could not be decided and
    --inconclusive is fail, 5 if one could not be judged at all.
    """
    from dnlbench.cli.comparison_formats import Compared
    from dnlbench.compare import (
        allow_rounding,
        candidate_of,
        largest_of,
        measure_rounding,
        parse_rule,
        rounding_floors,
        rounding_lines,
    )
    from dnlbench.compare import compare as compare_profiles
    from dnlbench.compare import gate as apply_rules
    from dnlbench.errors import NotComparableError
    from dnlbench.noise import known_floors
    from dnlbench.outputs import check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.titles import told_apart

    if output is not None:
        check_output(output, [reference, *candidates])
    pair = _pair(networks, match)
    base = read_profile(reference)
    roundings = measure_rounding(compare_profiles(base, read_profile(twin))) if twin else {}
    for line in rounding_lines(roundings, base.study):
        say(f"dnlbench: {line}")
    rules = [parse_rule(rule, base.study) for rule in fail_on or ()]
    comparisons, compared, files = [], [], []
    for path, candidate in [(path, read_profile(path)) for path in candidates]:
        try:
            found = compare_profiles(base, candidate, match=match, networks=pair)
            comparisons.append(allow_rounding(found, roundings))
            compared.append(candidate)
            files.append(path)
        except NotComparableError as error:
            say(f"dnlbench: error: {path}: not comparable with {reference}: {error}")
    comparisons = told_apart(comparisons, reference, files)
    subjects = [
        subject
        for profile, each in zip(compared, comparisons, strict=True)
        for subject in (each, candidate_of(profile, each.candidate))
    ]
    floors = [known_floors(base), *(rounding_floors(comparison, roundings) for comparison in comparisons)]
    gate = apply_rules(subjects, rules, largest_of(floors)) if rules else None
    if comparisons:
        _put(Compared(reference=base, candidates=compared, comparisons=comparisons, gate=gate), format_, output)
    if gate:
        tell(gate)
    code = exit_code(gate, inconclusive) if gate else ExitCode.OK
    if len(comparisons) < len(candidates) and code != ExitCode.REGRESSION:
        code = ExitCode.NOT_COMPARABLE
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _pair(networks: str | None, match: str) -> tuple[str, str] | None:
    """The network of the reference and that of the candidate."""
    from dnlbench.errors import ConfigurationError

    if networks is None:
        return None
    if match != "depth":
        raise ConfigurationError("--networks: goes with --match depth")
    names = [name.strip() for name in networks.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigurationError(
            f"--networks {networks}: write two names, such as densenet,resnet (reference, candidate)"
        )
    return names[0], names[1]


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
