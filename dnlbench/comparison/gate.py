"""Gates: pass, fail or inconclusive for each rule, network and candidate.

A gate tests the overall value of each network, so a sweep of many depths raises no more false alarms than one of few. With
tolerance ``tau`` a finding fails if the candidate is significantly worse by more than ``tau``. It passes if a degradation by
more than ``tau`` is excluded. Otherwise it is inconclusive: more seeds can decide.

The significance level is that of the two-sided 95 % interval, which is an error of 2.5 % in either direction. The verdicts in
the comparison tables use the same level, so a gate never fails on a result that the table calls inconclusive. Such an error is
likely only for a candidate that is nearly as bad as the tolerance. A rule without a tolerance risks the error with every equal
candidate; it therefore uses the bound of the 99 % interval, an error of 0.5 %.

A failure must be significant with Holm's correction over all networks and candidates of its rule, since any of them changes the
exit code. A pass needs no correction: a gate passes only if every finding does. The findings of a rule depend neither on other
rules nor on the comparison tables, whose p values are adjusted for all of their tests.

Rules of scope ``depth`` and ``network`` have a finding for each contrast within the candidate's profile instead: the larger
depth, or the other network, must not be worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.comparison.model import Comparison, Overall
from dnlbench.comparison.rules import FAILED, Rule
from dnlbench.errors import ConfigurationError
from dnlbench.profiles import Contrast, Profile, contrasts_of, within
from dnlbench.profiles.tuning import measured_by
from dnlbench.stats import LEVEL, Interval, LogRatio, holm
from dnlbench.studies import Quantity
from dnlbench.studies.base import TUNED_LOSS

Outcome = Literal["pass", "fail", "inconclusive", "not comparable"]
ALL_NETWORKS = "all networks"
"""The name used instead of a network if a rule applies to no contrast."""
NO_FLOORS: Mapping[str, float] = {}
ERROR = (1 - LEVEL) / 2
"""The error of a failure of a rule with a tolerance, and of every pass."""
ERROR_OF_WORSE = 0.005
"""The error of a failure of a rule without a tolerance."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one rule for one network of one candidate."""

    rule: Rule
    candidate: str
    """Title of the profile, equal to `Comparison.candidate`."""
    network: str
    """The network; ``other / first`` for a rule of scope ``network``."""
    depths: tuple[int, ...]
    """The depths that contribute; for a rule of scope ``depth``, the previous depth and the depth."""
    tolerance: float
    """The tolerance of the rule, or the floor of the quantity if that is larger."""
    effect: Interval | None
    """The factor by which the candidate is worse: above 1 is worse, whichever direction is better. For a quantity without a
    better direction the larger of candidate over reference and its inverse. None if undefined, and for ``failed``."""
    p_adjusted: float | None
    """The one-sided p value that it is worse by no more than the tolerance, adjusted by Holm over the findings of the rule."""
    outcome: Outcome
    reason: str
    """The failed runs, or the reason for an inconclusive outcome; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The result of all rules."""

    outcome: Outcome
    """``fail`` if any finding fails; otherwise ``not comparable`` if a rule could not be tested at all for a candidate;
    otherwise ``pass`` if all findings pass; otherwise ``inconclusive``."""
    findings: tuple[Finding, ...]
    """Ordered by subject, rule and network."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The contrasts of one profile, to which rules of scope ``depth`` and ``network`` apply."""

    candidate: str
    """Title of the profile, equal to `Comparison.candidate`."""
    study: str
    contrasts: tuple[Contrast, ...]


def candidate_of(profile: Profile, title: str) -> Candidate:
    """Compute the contrasts of a profile from its runs."""
    study = profile.declared
    tested = [quantity for quantity in study.quantities if quantity.name in study.contrasts]
    contrasts = tuple(
        contrast
        for quantity in tested
        for contrast in contrasts_of(measured_by(quantity, profile.runs, study), quantity)
    )
    return Candidate(candidate=title, study=study.name, contrasts=contrasts)


def gate(
    subjects: Sequence[Comparison | Candidate], rules: Sequence[Rule], floors: Mapping[str, float] = NO_FLOORS
) -> Gate:
    """Apply rules to comparisons and, if their scope is within a profile, to candidates.

    Args:
        subjects: comparisons, each followed by its candidate if a rule is within profiles; findings have the same order.
        rules: the rules.
        floors: by quantity name, the relative difference that noise alone can cause; smaller tolerances are raised to it.

    Raises:
        ConfigurationError: if a rule names a quantity that a comparison's study does not have.
    """
    judged: dict[tuple[int, int], list[Finding]] = {}
    for number, rule in enumerate(rules):
        groups = {
            index: list(_cases(subject, rule, floors))
            for index, subject in enumerate(subjects)
            if _applies(rule, subject)
        }
        p_values = [case.p for group in groups.values() for case in group]
        adjusted, tests = iter(holm(p_values)), sum(p is not None for p in p_values)
        for index, group in groups.items():
            judged[index, number] = [_judged(case, next(adjusted), tests) for case in group]
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
    tolerated: float = 0.0
    """The tolerance, for the rule ``worse``: that of the quantity, or its floor, within which there is no difference."""
    effect: LogRatio | None = None
    p: float | None = None
    """The one-sided p value that it is worse by no more than the tolerance; None if the outcome does not depend on it."""
    decided: tuple[Outcome, str] | None = None
    """Outcome and reason if no test is needed."""
    left_out: str = ""
    unjudged: tuple[int, ...] = ()
    """See `Overall.unjudged`."""


def _cases(subject: Comparison | Candidate, rule: Rule, floors: Mapping[str, float]) -> Iterator[_Case]:
    return _by_network(subject, rule, floors) if isinstance(subject, Comparison) else _by_contrast(subject, rule)


def _by_contrast(candidate: Candidate, rule: Rule) -> Iterator[_Case]:
    contrasts = [
        contrast
        for contrast in candidate.contrasts
        if contrast.quantity.name == rule.quantity
        and (contrast.point.series == contrast.against.series) == (rule.scope == "depth")
    ]
    for contrast in contrasts:
        yield _contrast(candidate, rule, contrast)
    if not contrasts:
        decided: tuple[Outcome, str] = ("not comparable", f"the profile has a single {rule.scope}")
        yield _Case(rule=rule, candidate=candidate.candidate, network=ALL_NETWORKS, depths=(), decided=decided)


def _contrast(candidate: Candidate, rule: Rule, contrast: Contrast) -> _Case:
    point, against = contrast.point, contrast.against
    within_network = rule.scope == "depth"
    effect = _worse_by(contrast.test.log_ratio, contrast.quantity)
    decided: tuple[Outcome, str] | None = None
    if contrast.diverged:
        decided = "fail", contrast.diverged
    elif effect is None:
        decided = "not comparable", contrast.test.problem
    elif effect.error is None or contrast.survivors_only:
        decided = "inconclusive", contrast.reason
    return _Case(
        rule=rule,
        candidate=candidate.candidate,
        network=point.series if within_network else f"{point.series} / {against.series}",
        depths=(against.depth, point.depth) if within_network else (point.depth,),
        tolerance=rule.tolerance,
        tolerated=contrast.quantity.tolerance if rule.tolerance == 0 else 0.0,
        effect=effect,
        p=None if decided or effect is None else effect.p_above(math.log1p(rule.tolerance)),
        decided=decided,
    )


def _by_network(comparison: Comparison, rule: Rule, floors: Mapping[str, float]) -> Iterator[_Case]:
    if rule.quantity not in (FAILED, *(quantity.name for quantity in comparison.quantities)):
        raise ConfigurationError(f"rule {rule.text!r}: the {comparison.study} study has no such quantity")
    decided: tuple[Outcome, str]
    by_network = {overall.network: overall for overall in comparison.overall if overall.quantity.name == rule.quantity}
    if rule.quantity == TUNED_LOSS and not by_network:
        decided = "not comparable", "a profile has no best values, or they are of another setting"
        yield _Case(rule=rule, candidate=comparison.candidate, network=ALL_NETWORKS, depths=(), decided=decided)
        return
    compared = [overall.network for overall in comparison.overall if overall.quantity == comparison.quantities[0]]
    planned = dict.fromkeys([*compared, *(network for network, _ in comparison.missing)])
    for network in by_network if rule.quantity == TUNED_LOSS else planned:
        if rule.quantity == FAILED:
            yield _ends(comparison, rule, network)
        elif network in by_network:
            yield _overall_case(comparison, rule, by_network[network], floors)
        else:
            reason = "no run has a value" if network in compared else "not in the candidate"
            decided = "not comparable", reason
            yield _Case(rule=rule, candidate=comparison.candidate, network=network, depths=(), decided=decided)


def _ends(comparison: Comparison, rule: Rule, network: str) -> _Case:
    """Test the rule `FAILED`. Cancelled, skipped and missing runs make it inconclusive."""
    unfinished = [run for run in comparison.unfinished if run[0] == network]
    decided: tuple[Outcome, str] = ("pass", "")
    if failures := _failures(comparison, network):
        decided = "fail", failures
    elif unfinished:
        runs = ", ".join(f"seed {seed} at L={depth}" for _, depth, seed in unfinished)
        decided = "inconclusive", f"unfinished or missing in the candidate: {runs}"
    depths = tuple(dict.fromkeys(cell.depth for cell in comparison.cells if cell.network == network))
    return _Case(rule=rule, candidate=comparison.candidate, network=network, depths=depths, decided=decided)


def _failures(comparison: Comparison, network: str) -> str:
    failed = [run for run in comparison.new_failures if run.network == network]
    return ", ".join(f"seed {run.seed} {run.status} at L={run.depth}" for run in failed)


def _overall_case(comparison: Comparison, rule: Rule, overall: Overall, floors: Mapping[str, float]) -> _Case:
    """Test a quantity. A failed run counts as worse than any value."""
    floor = floors.get(rule.quantity, 0.0)
    tolerance = max(rule.tolerance, floor)
    effect = _worse_by(overall.log_ratio, overall.quantity)
    decided: tuple[Outcome, str] | None = None
    if failures := _failures(comparison, overall.network):
        decided = "fail", failures
    elif effect is None:
        decided = "not comparable", overall.reason
    elif overall.advisory:
        decided = "not comparable", overall.advisory
    elif effect.error is None:
        decided = "inconclusive", overall.reason
    return _Case(
        rule=rule,
        candidate=comparison.candidate,
        network=overall.network,
        depths=overall.depths,
        tolerance=tolerance,
        tolerated=max(overall.quantity.tolerance, floor) if rule.tolerance == 0 else 0.0,
        effect=effect,
        p=None if decided or effect is None else _p(effect, tolerance, either_way=overall.quantity.better is None),
        decided=decided,
        left_out=overall.left_out,
        unjudged=overall.unjudged,
    )


def _worse_by(result: LogRatio | None, quantity: Quantity) -> LogRatio | None:
    if result is None or quantity.better == "lower":
        return result
    return result.inverse if quantity.better == "higher" or result.estimate < 0 else result


def _p(effect: LogRatio, tolerance: float, *, either_way: bool) -> float | None:
    bound = math.log1p(tolerance)
    p = effect.p_above(bound)
    if p is None or not either_way:
        return p
    return min(1.0, p + (effect.p_above(-bound) or 0.0))  # the effect is the larger of the two directions


def _judged(case: _Case, p_adjusted: float | None, tests: int) -> Finding:
    outcome, reason = case.decided or _outcome(case, p_adjusted, tests)
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
    if effect.high <= 1 + case.tolerance or (case.tolerated and within(effect, case.tolerated)):
        return ("inconclusive", "not all depths can be compared") if case.unjudged else ("pass", "")
    if p_adjusted < (ERROR if case.rule.tolerance else ERROR_OF_WORSE):
        return "fail", ""
    if effect.low > 1 + case.tolerance:
        return (
            "inconclusive",
            f"worse than allowed, but not significant{f' after correction for {tests} tests' if tests > 1 else ''}",
        )
    return "inconclusive", "the interval contains allowed and disallowed values; more seeds may decide"


def _together(groups: Sequence[Sequence[Finding]]) -> Outcome:
    """Return the worst outcome of all findings. A rule without findings is not comparable."""
    outcomes = [{finding.outcome for finding in group} or {"not comparable"} for group in groups]
    if any("fail" in group for group in outcomes):
        return "fail"
    if any(group == {"not comparable"} for group in outcomes):
        return "not comparable"
    return "pass" if all(group <= {"pass"} for group in outcomes) else "inconclusive"
