"""``dnlbench compare``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dnlbench.cli import complete, options
from dnlbench.cli.gating import Answer, conclude
from dnlbench.cli.output import ExitCode, guarded, say

if TYPE_CHECKING:
    from dnlbench.comparison import Comparison, Rule
    from dnlbench.comparison.rounding import Roundings
    from dnlbench.profiles import Profile
    from dnlbench.report.formats import Compared


@guarded
def compare(
    reference: Annotated[
        Path,
        options.Argument(metavar="REFERENCE", help="Profile to compare with.", autocompletion=complete.profiles),
    ],
    candidates: Annotated[
        list[Path],
        options.Argument(
            metavar="CANDIDATE", help="Profiles to compare with REFERENCE.", autocompletion=complete.profiles
        ),
    ],
    format_: Annotated[
        str | None,
        options.Option(
            "--format",
            metavar="FORMAT",
            help="Format of the result: table, markdown, json, csv, html (a single page with charts), junit, latex, or another "
            "name of dnlbench list formats. Default: by the suffix of -o FILE, else table.",
            rich_help_panel=options.OUTPUT,
            autocompletion=complete.comparison_formats,
        ),
    ] = None,
    output: options.Output = None,
    fail_on: options.CompareRules = None,
    twin: options.Twin = None,
    inconclusive: options.Inconclusive = "warn",
    match: options.Match = "network",
    networks: options.Networks = None,
) -> None:
    """Compare saved profiles with a reference profile.

    Reports a verdict for each quantity of the study (training: loss, throughput, memory), network and depth, and one over all
    depths. With --match depth, compares a network of the reference with a network of the candidate at equal depth. Name a
    profile twice to compare two of its networks.

    Exits with code 5 if a candidate shares nothing with the reference; other candidates are still compared. With --fail-on,
    exits with code 3 if a rule is violated, 4 if a rule is inconclusive and --inconclusive is fail, and 5 if a rule does not
    apply.
    """
    from dnlbench.cli.formats import put
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.comparison import compare as compare_profiles
    from dnlbench.comparison import measure_rounding, parse_rule, rounding_lines
    from dnlbench.outputs import check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.formats import choose_format
    from dnlbench.report.markdown import comparison_parts

    chosen = choose_format("comparison", format_, output)
    if output is not None:
        check_output(output, [reference, *candidates])
    pair = _pair(networks, match)
    base = read_profile(reference)
    roundings = measure_rounding(compare_profiles(base, read_profile(twin))) if twin else {}
    for line in rounding_lines(roundings, base.declared):
        say(f"dnlbench: {line}")
    rules = [parse_rule(rule, base.declared) for rule in fail_on or ()]
    with_base = partial(compare_profiles, base, match=match, networks=pair)
    compared = _compared((reference, base), candidates, with_base, roundings, rules)
    if compared.comparisons and chosen.comparison:
        put(chosen.comparison(compared), output)
        add_to_step_summary(comparison_parts(compared.comparisons, compared.gate))
    code = conclude(compared.gate, Answer(inconclusive=inconclusive), failed=False)
    if len(compared.comparisons) < len(candidates) and code != ExitCode.REGRESSION:
        code = ExitCode.NOT_COMPARABLE
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _compared(
    reference: tuple[Path, Profile],
    paths: Sequence[Path],
    compare: Callable[[Profile], Comparison],
    roundings: Roundings,
    rules: Sequence[Rule],
) -> Compared:
    from dnlbench.comparison import allow_rounding, candidate_of, gate, largest_of, rounding_floors
    from dnlbench.errors import NotComparableError
    from dnlbench.noise import known_floors
    from dnlbench.profiles import read_profile
    from dnlbench.report.comparison import with_distinct_titles
    from dnlbench.report.formats import Compared

    origin, base = reference
    candidates: list[tuple[Path, Profile]] = []
    results: list[Comparison] = []
    for path, profile in [(path, read_profile(path)) for path in paths]:
        try:
            results.append(allow_rounding(compare(profile), roundings))
            candidates.append((path, profile))
        except NotComparableError as error:
            say(f"dnlbench: error: {path}: not comparable with {origin}: {error}")
    comparisons = with_distinct_titles(results, origin, [path for path, _ in candidates])
    profiles = [profile for _, profile in candidates]
    pairs = zip(profiles, comparisons, strict=True)
    subjects = [
        subject
        for profile, comparison in pairs
        for subject in (comparison, candidate_of(profile, comparison.candidate))
    ]
    floors = [known_floors(base), *(rounding_floors(comparison, roundings) for comparison in comparisons)]
    verdict = gate(subjects, rules, largest_of(floors)) if rules else None
    return Compared(reference=base, candidates=profiles, comparisons=comparisons, gate=verdict)


def _pair(networks: str | None, match: str) -> tuple[str, str] | None:
    from dnlbench.errors import ConfigurationError

    if networks is None:
        return None
    if match != "depth":
        raise ConfigurationError("--networks: requires --match depth")
    names = [name.strip() for name in networks.split(",")]
    if len(names) != 2 or not all(names):
        raise ConfigurationError(
            f"--networks {networks}: write two names, such as densenet,resnet (reference, candidate)"
        )
    return names[0], names[1]
