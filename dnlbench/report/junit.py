"""A comparison as JUnit XML for Jenkins and GitLab: a test case for each run and for each finding of a gate."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from dnlbench.comparison import Comparison, Finding, Gate, Rule
from dnlbench.escape import printable
from dnlbench.profiles import Profile, RunRecord
from dnlbench.report.gate import depths_text
from dnlbench.report.runs import log_end
from dnlbench.report.values import ratio_text

PROBLEMS = {"failed": "error", "oom": "error", "diverged": "failure", "cancelled": "skipped", "skipped": "skipped"}
"""JUnit elements by run status. A crashed run is an error; a run that finished with a useless result is a failure."""
OUTCOMES = {"fail": "failure", "inconclusive": "skipped", "not comparable": "skipped"}
"""JUnit elements by outcome. A rule that is not comparable for any network of a candidate is an error instead, so that a build
with a nonzero exit code also has a failed test, except with ``--inconclusive fail``."""


def comparison_junit(candidates: Sequence[Profile], comparisons: Sequence[Comparison], gate: Gate | None = None) -> str:
    """Return a suite for each candidate, and one for the gate if there is one."""
    suites = [_runs(profile, each) for profile, each in zip(candidates, comparisons, strict=True)]
    if gate is not None:
        unjudged = _unjudged(gate.findings)
        suites.append(
            _suite("gate", [_finding(f, judged=_candidate_and_rule(f) not in unjudged) for f in gate.findings])
        )
    root = ET.Element("testsuites", {"name": "dnlbench", **_totals(suites)})
    root.extend(suites)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _runs(profile: Profile, comparison: Comparison) -> ET.Element:
    suite = _suite(comparison.candidate, [_run(run) for run in profile.runs])
    suite.set("timestamp", f"{profile.created:%Y-%m-%dT%H:%M:%S}")
    return suite


def _suite(name: str, cases: Sequence[ET.Element]) -> ET.Element:
    suite = ET.Element("testsuite", {"name": printable(name)})
    suite.extend(cases)
    counts = {kind: len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")}
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
    return suite


def _totals(suites: Sequence[ET.Element]) -> dict[str, str]:
    """Return the counts of all suites, without skipped cases, which the schema does not allow at the top level."""
    names = ("tests", "failures", "errors")
    counts = {name: str(sum(int(suite.get(name, 0)) for suite in suites)) for name in names}
    return {**counts, "time": f"{sum(float(suite.get('time', 0)) for suite in suites):.3f}"}


def _run(run: RunRecord) -> ET.Element:
    case = _case(run.series, f"L={run.depth} seed={run.seed}", _seconds(run))
    if kind := PROBLEMS.get(run.status):
        first = run.error.message.partition("\n")[0] if run.error else run.status
        problem = ET.SubElement(case, kind, {"message": printable(f"{run.status}: {first}" if run.error else first)})
        if kind != "skipped":
            problem.set("type", printable(run.error.type if run.error else run.status))
        if run.error:
            problem.text = printable("\n".join(filter(None, (run.error.message, log_end(run.error.log or "")))))
    return case


def _seconds(run: RunRecord) -> float:
    """Return the duration of all attempts, or the training time if it is unknown."""
    spans = [(a.ended - a.started).total_seconds() for a in run.attempts if a.ended is not None]
    return max(0.0, sum(spans)) if spans else sum(epoch.seconds for epoch in run.epochs)


def _unjudged(findings: Sequence[Finding]) -> set[tuple[str, Rule]]:
    """Return the rules that are not comparable for any network of a candidate."""
    return {_candidate_and_rule(f) for f in findings} - {
        _candidate_and_rule(f) for f in findings if f.outcome != "not comparable"
    }


def _candidate_and_rule(finding: Finding) -> tuple[str, Rule]:
    return finding.candidate, finding.rule


def _finding(finding: Finding, *, judged: bool) -> ET.Element:
    case = _case("gate", f"{finding.rule.text} {_location(finding)} of {finding.candidate}", 0.0)
    if kind := OUTCOMES.get(finding.outcome) if judged else "error":
        degradation = f"degradation {ratio_text(finding.effect)}" if finding.effect else ""
        message = "; ".join(filter(None, (finding.outcome, degradation, finding.reason)))
        problem = ET.SubElement(case, kind, {"message": printable(message)})
        if kind != "skipped":
            problem.set("type", "regression" if kind == "failure" else "not comparable")
    return case


def _location(finding: Finding) -> str:
    """Return the network, with depths if the rule has a finding for each."""
    return finding.network if finding.rule.scope == "candidate" else f"{finding.network} L={depths_text(finding)}"


def _case(group: str, name: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", {"classname": printable(group), "name": printable(name), "time": f"{seconds:.3f}"})
