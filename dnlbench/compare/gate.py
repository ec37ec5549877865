"""Whether comparisons are good enough to go on with.

A gate looks at the overall figure of each network, so that a sweep of many depths raises no more false alarms than one of few.
With tolerance ``tau`` a finding fails if the candidate is worse by more than ``tau`` beyond doubt, passes if it is beyond doubt
not worse by more than ``tau``, and is inconclusive between the two: more seeds would tell.

"Beyond doubt" is the bound of the two-sided 95 % interval, so an error of 2.5 % on either side, not 5 %: the verdicts beside
the gate are of that level, and a gate that fails on what the table next to it calls inconclusive is not believed. Such an error
can only be made of what is nearly as bad as the tolerance. A rule without a tolerance makes it of every equal result, day by
day; there it is the bound of the 99 % interval, and 0.5 %.

A failure has to hold with Holm's correction over all networks and candidates of its rule, since any of them turns the exit
code. A pass needs no correction: a gate passes only if each finding does. What one rule finds depends neither on
the others nor on the tables beside the gate, whose p values are adjusted for everything in them.

Rules of scope ``depth`` and ``network`` have a finding for each contrast within the candidate's profile instead, by the same
rules: the later depth, or the other network, is what may be worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.compare.model import Comparison, Overall
from dnlbench.compare.rules import FAILED, Rule
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Contrast, Profile, contrasts_of, within
from dnlbench.stats import LEVEL, Interval, LogRatio, holm
from dnlbench.studies import STUDIES, Quantity

Outcome = Literal["pass", "fail", "inconclusive", "not comparable"]
ALL_NETWORKS = "all networks"
"""In place of a network, where a rule has no contrast to apply to."""
NO_FLOORS: Mapping[str, float] = {}
ERROR = (1 - LEVEL) / 2
"""Of a failure of a rule with a tolerance, and of every pass."""
ERROR_OF_WORSE = 0.005
"""Of a failure of a rule without."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one network of one candidate."""

    rule: Rule
    candidate: str
    """Title of the profile, the same as `Comparison.candidate`."""
    network: str
    """``other / first`` for a rule of scope ``network``."""
    depths: tuple[int, ...]
    """Those that contribute; for a rule of scope ``depth`` the depth before and the depth."""
    tolerance: float
    """The rule's, or the quantity's floor where that is larger."""
    effect: Interval | None
    """By what factor the candidate is worse: above 1 is worse, whichever direction is better. Of a quantity without a better
    direction the larger one of candidate over reference and its inverse. None where none can be stated, and of ``failed``."""
    p_adjusted: float | None
    """One-sided, that it is worse by no more than the tolerance; by Holm over the rule's findings."""
    outcome: Outcome
    reason: str
    """What failed, or why there is no clear outcome; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All rules together."""

    outcome: Outcome
    """``fail`` if any finding fails; else ``not comparable`` if there is a candidate that a rule could not be judged for at
    all; else ``pass`` if all findings are; else ``inconclusive``."""
    findings: tuple[Finding, ...]
    """By subject, then by rule, then by network."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A profile by itself: its contrasts are what rules of scope ``depth`` and ``network`` apply to."""

    candidate: str
    """Title of the profile, the same as `Comparison.candidate`."""
    study: str
    contrasts: tuple[Contrast, ...]


def candidate_of(profile: Profile, title: str) -> Candidate:
    """The contrasts of a profile, computed from its runs."""
    study = STUDIES[profile.study]
    tested = [quantity for quantity in study.quantities if quantity.name in study.contrasts]
    found = tuple(contrast for quantity in tested for contrast in contrasts_of(profile.runs, quantity))
    return Candidate(candidate=title, study=study.name, contrasts=found)


def gate(
    subjects: Sequence[Comparison | Candidate], rules: Sequence[Rule], floors: Mapping[str, float] = NO_FLOORS
) -> Gate:
    """Apply rules to comparisons and, where their scope is within a profile, to candidates.

    Subjects are in the order of the findings: each comparison, and its candidate where it has rules of its own.
    ``floors`` are relative differences by quantity name, below which the machine cannot tell two equal things apart; no
    tolerance is taken to be smaller.

    Raises:
        ConfigurationError: if a rule names a quantity that a comparison's study does not have.
    """
    judged: dict[tuple[int, int], list[Finding]] = {}
    for number, rule in enumerate(rules):
        groups = {
            place: list(_cases(subject, rule, floors))
            for place, subject in enumerate(subjects)
            if _applies(rule, subject)
        }
        p_values = [case.p for group in groups.values() for case in group]
        adjusted, tests = iter(holm(p_values)), sum(p is not None for p in p_values)
        for place, group in groups.items():
            judged[place, number] = [_judged(case, next(adjusted), tests) for case in group]
        if not groups:
            judged[len(subjects), number] = []
    findings = tuple(finding for key in sorted(judged) for finding in judged[key])
    return Gate(outcome=_together(list(judged.values())), findings=findings)


def _applies(rule: Rule, subject: Comparison | Candidate) -> bool:
    return isinstance(subject, Comparison) == (rule.scope == "candidate")


@dataclass(frozen=True, kw_only=True)
class _Case:
    rule: Rule
    candidate: str
    network: str
    depths: tuple[int, ...]
    tolerance: float = 0.0
    bearable: float = 0.0
    """By the rule ``worse``, what the quantity's own tolerance, or its floor, calls no difference."""
    effect: LogRatio | None = None
    p: float | None = None
    """One-sided, that it is worse by no more than the tolerance; None where that decides nothing."""
    settled: tuple[Outcome, str] | None = None
    """Outcome and reason, where no statistics are needed."""
    left_out: str = ""
    unjudged: tuple[int, ...] = ()
    """See `Overall.unjudged`."""


def _cases(subject: Comparison | Candidate, rule: Rule, floors: Mapping[str, float]) -> Iterator[_Case]:
    return _by_network(subject, rule, floors) if isinstance(subject, Comparison) else _by_contrast(subject, rule)


def _by_contrast(candidate: Candidate, rule: Rule) -> Iterator[_Case]:
    found = [
        contrast
        for contrast in candidate.contrasts
        if contrast.quantity.name == rule.quantity
        and (contrast.point.network == contrast.against.network) == (rule.scope == "depth")
    ]
    for contrast in found:
        yield _contrast(candidate, rule, contrast)
    if not found:
        settled: tuple[Outcome, str] = ("not comparable", f"the profile has a single {rule.scope}")
        yield _Case(rule=rule, candidate=candidate.candidate, network=ALL_NETWORKS, depths=(), settled=settled)


def _contrast(candidate: Candidate, rule: Rule, contrast: Contrast) -> _Case:
    point, against = contrast.point, contrast.against
    within_network = rule.scope == "depth"
    effect = _worse_by(contrast.test.log_ratio, contrast.quantity)
    settled: tuple[Outcome, str] | None = None
    if contrast.diverged:
        settled = "fail", contrast.diverged
    elif effect is None:
        settled = "not comparable", contrast.test.problem
    elif effect.error is None or contrast.survivors_only:
        settled = "inconclusive", contrast.reason
    return _Case(
        rule=rule,
        candidate=candidate.candidate,
        network=point.network if within_network else f"{point.network} / {against.network}",
        depths=(against.depth, point.depth) if within_network else (point.depth,),
        tolerance=rule.tolerance,
        bearable=contrast.quantity.tolerance if rule.tolerance == 0 else 0.0,
        effect=effect,
        p=None if settled or effect is None else effect.p_above(math.log1p(rule.tolerance)),
        settled=settled,
    )


def _by_network(comparison: Comparison, rule: Rule, floors: Mapping[str, float]) -> Iterator[_Case]:
    main, *_ = quantities = STUDIES[comparison.study].quantities
    if rule.quantity not in (FAILED, *(quantity.name for quantity in quantities)):
        raise ConfigurationError(f"rule {rule.text!r}: the {comparison.study} study has no such quantity")
    by_network = {figure.network: figure for figure in comparison.overall if figure.quantity.name == rule.quantity}
    compared = [figure.network for figure in comparison.overall if figure.quantity == main]
    for network in dict.fromkeys([*compared, *(network for network, _ in comparison.missing)]):
        if rule.quantity == FAILED:
            yield _ends(comparison, rule, network)
        elif network in by_network:
            yield _figure(comparison, rule, by_network[network], floors)
        else:
            reason = "no run has a value" if network in compared else "not in the candidate"
            settled: tuple[Outcome, str] = ("not comparable", reason)
            yield _Case(rule=rule, candidate=comparison.candidate, network=network, depths=(), settled=settled)


def _ends(comparison: Comparison, rule: Rule, network: str) -> _Case:
    """How runs ended; what was cancelled, never begun or not even asked for cannot be told to be well."""
    unfinished = [run for run in comparison.unfinished if run[0] == network]
    settled: tuple[Outcome, str] = ("pass", "")
    if failures := _failures(comparison, network):
        settled = "fail", failures
    elif unfinished:
        runs = ", ".join(f"seed {seed} at L={depth}" for _, depth, seed in unfinished)
        settled = "inconclusive", f"not finished in the candidate, or not in it: {runs}"
    depths = tuple(dict.fromkeys(cell.depth for cell in comparison.cells if cell.network == network))
    return _Case(rule=rule, candidate=comparison.candidate, network=network, depths=depths, settled=settled)


def _failures(comparison: Comparison, network: str) -> str:
    failed = [run for run in comparison.new_failures if run.network == network]
    return ", ".join(f"seed {run.seed} {run.status} at L={run.depth}" for run in failed)


def _figure(comparison: Comparison, rule: Rule, figure: Overall, floors: Mapping[str, float]) -> _Case:
    """A quantity; a run that failed has none, and is worse than any number."""
    floor = floors.get(rule.quantity, 0.0)
    tolerance = max(rule.tolerance, floor)
    effect = _worse_by(figure.log_ratio, figure.quantity)
    settled: tuple[Outcome, str] | None = None
    if failures := _failures(comparison, figure.network):
        settled = "fail", failures
    elif effect is None:
        settled = "not comparable", figure.reason
    elif figure.advisory:
        settled = "not comparable", figure.advisory
    elif effect.error is None:
        settled = "inconclusive", figure.reason
    return _Case(
        rule=rule,
        candidate=comparison.candidate,
        network=figure.network,
        depths=figure.depths,
        tolerance=tolerance,
        bearable=max(figure.quantity.tolerance, floor) if rule.tolerance == 0 else 0.0,
        effect=effect,
        p=None if settled or effect is None else _p(effect, tolerance, either_way=figure.quantity.better is None),
        settled=settled,
        left_out=figure.left_out,
        unjudged=figure.unjudged,
    )


def _worse_by(found: LogRatio | None, quantity: Quantity) -> LogRatio | None:
    if found is None or quantity.better == "lower":
        return found
    return found.inverse if quantity.better == "higher" or found.estimate < 0 else found


def _p(effect: LogRatio, tolerance: float, *, either_way: bool) -> float | None:
    bound = math.log1p(tolerance)
    p = effect.p_above(bound)
    if p is None or not either_way:
        return p
    return min(1.0, p + (effect.p_above(-bound) or 0.0))  # the effect is the larger of the two ways


def _judged(case: _Case, p_adjusted: float | None, tests: int) -> Finding:
    outcome, reason = case.settled or _outcome(case, p_adjusted, tests)
    return Finding(
        rule=case.rule,
        candidate=case.candidate,
        network=case.network,
        depths=case.depths,
        tolerance=case.tolerance,
        effect=None if case.effect is None else case.effect.ratio,
        p_adjusted=p_adjusted,
        outcome=outcome,
        reason="; ".join(filter(None, (reason, case.left_out))),
    )


def _outcome(case: _Case, p_adjusted: float | None, tests: int) -> tuple[Outcome, str]:
    assert case.effect is not None
    effect = case.effect.ratio
    assert p_adjusted is not None
    assert effect.low is not None
    assert effect.high is not None
    if effect.high <= 1 + case.tolerance or (case.bearable and within(effect, case.bearable)):
        return ("inconclusive", "not all depths can be judged") if case.unjudged else ("pass", "")
    if p_adjusted < (ERROR if case.rule.tolerance else ERROR_OF_WORSE):
        return "fail", ""
    if effect.low > 1 + case.tolerance:
        return (
            "inconclusive",
            f"its interval is too high, but not beyond doubt{f' as one of {tests}' if tests > 1 else ''}",
        )
    return "inconclusive", "the interval reaches from what is allowed to what is not; more seeds may decide"


def _together(groups: Sequence[Sequence[Finding]]) -> Outcome:
    """The worst outcome of all findings. A rule without findings is not comparable."""
    outcomes = [{finding.outcome for finding in group} or {"not comparable"} for group in groups]
    if any("fail" in group for group in outcomes):
        return "fail"
    if any(group == {"not comparable"} for group in outcomes):
        return "not comparable"
    return "pass" if all(group <= {"pass"} for group in outcomes) else "inconclusive"
