"""The findings of a gate as a table and as lines."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.comparison import FAILED, Finding, Gate
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import p_text, ratio_text

NEWLY_FAILED = "newly failed"
"""The rule ``failed`` in a table, where ``failed`` itself would look like an outcome."""


def gate_grid(gate: Gate) -> Grid:
    """Return a table of all findings, with reasons in its note."""
    several = len({finding.candidate for finding in gate.findings}) > 1
    columns = [
        Column(head="rule", no_wrap=True),
        Column(head="candidate"),
        Column(head="network", no_wrap=True),
        Column(head="L", no_wrap=True, drop_order=2),
        Column(head="degradation [95 % CI]", numeric=True, drop_order=3),
        Column(head="p (Holm)", numeric=True, drop_order=1),
        Column(head="outcome", no_wrap=True),
    ]
    rows = [_row(finding) for finding in gate.findings]
    if not several:
        columns.pop(1)
        for row in rows:
            row.pop(1)
    return Grid(title=f"Gate: {gate.outcome}", columns=columns, rows=rows, note="\n".join(_notes(gate)))


def gate_lines(gate: Gate) -> Iterator[str]:
    """Yield a line for each finding: ``fail: throughput:5% of densenet at L = 2, 4, 8: degradation 1.15 [1.11, 1.19]``."""
    several = len({finding.candidate for finding in gate.findings}) > 1
    for finding in gate.findings:
        subject = f" of {finding.network}" + (f" at L = {depths_text(finding)}" if finding.depths else "")
        parts = [
            f"{finding.rule.text}{subject}" + (f" in {finding.candidate}" if several else ""),
            f"degradation {ratio_text(finding.effect)}" if finding.effect else "",
            _noise(finding),
            finding.reason,
        ]
        yield f"{finding.outcome}: {': '.join(filter(None, parts))}"


def _noise(finding: Finding) -> str:
    """Describe a tolerance raised to the noise floor of the machine; empty otherwise."""
    if not finding.effect or finding.tolerance <= finding.rule.tolerance:
        return ""
    return f"tolerance raised to the noise floor of {units.percent(finding.tolerance)}"


def _row(finding: Finding) -> list[str]:
    return [
        NEWLY_FAILED if finding.rule.quantity == FAILED else finding.rule.text,
        finding.candidate,
        finding.network,
        depths_text(finding),
        ratio_text(finding.effect),
        p_text(finding.p_adjusted),
        finding.outcome,
    ]


def depths_text(finding: Finding) -> str:
    """Return ``2, 4, 8``, or ``2 → 4`` for a change with depth."""
    if finding.rule.scope == "depth":
        return " → ".join(map(str, finding.depths)) or units.NOTHING
    return ", ".join(map(str, finding.depths)) or units.NOTHING


def _notes(gate: Gate) -> Iterator[str]:
    if any(finding.effect for finding in gate.findings):
        yield "degradation: factor by which the candidate is worse\np: Holm-adjusted, for a degradation within the tolerance"
    for finding in gate.findings:
        if noise := _noise(finding):
            yield f"{finding.rule.text}: {noise}"
    for outcome, reason in dict.fromkeys((f.outcome, f.reason) for f in gate.findings if f.reason):
        alike = [finding for finding in gate.findings if (finding.outcome, finding.reason) == (outcome, reason)]
        locations = dict.fromkeys(_location(finding) for finding in alike)
        yield f"{', '.join(locations)}: {outcome}: {reason}"


def _location(finding: Finding) -> str:
    """Return the rule and the network, with depths if the rule has a finding for each."""
    depths = f" at L={depths_text(finding)}" if finding.rule.scope != "candidate" and finding.depths else ""
    return f"{finding.rule.text} of {finding.network}{depths}"
