"""What a gate says, as a table and in lines."""

from __future__ import annotations

from collections.abc import Iterator

from dnlbench import units
from dnlbench.compare import FAILED, Finding, Gate
from dnlbench.report.grid import Column, Grid
from dnlbench.report.values import p_text, ratio_text

NEWLY_FAILED = "newly failed"
"""The rule in a table, where ``failed`` alone is an outcome, and coloured as one."""


def gate_grid(gate: Gate) -> Grid:
    """All findings; reasons stand below."""
    several = len({finding.candidate for finding in gate.findings}) > 1
    columns = [
        Column(head="rule", no_wrap=True),
        Column(head="candidate"),
        Column(head="network", no_wrap=True),
        Column(head="L", no_wrap=True, drop_order=2),
        Column(head="times as bad [95 %]", numeric=True, drop_order=3),
        Column(head="p", numeric=True, drop_order=1),
        Column(head="outcome", no_wrap=True),
    ]
    rows = [_row(finding) for finding in gate.findings]
    if not several:
        columns.pop(1)
        for row in rows:
            row.pop(1)
    return Grid(title=f"Gate: {gate.outcome}", columns=columns, rows=rows, note="\n".join(_notes(gate)))


def gate_lines(gate: Gate) -> Iterator[str]:
    """One for each finding: ``fail: throughput:5% of densenet at L = 2, 4, 8: 1.15 [1.11, 1.19] times as bad``."""
    several = len({finding.candidate for finding in gate.findings}) > 1
    for finding in gate.findings:
        of = f" of {finding.network}" + (f" at L = {depths_text(finding)}" if finding.depths else "")
        parts = [
            f"{finding.rule.text}{of}" + (f" in {finding.candidate}" if several else ""),
            f"{ratio_text(finding.effect)} times as bad" if finding.effect else "",
            _noise(finding),
            finding.reason,
        ]
        yield f"{finding.outcome}: {': '.join(filter(None, parts))}"


def _noise(finding: Finding) -> str:
    """What the machine's noise floor makes of the tolerance; empty if nothing."""
    if not finding.effect or finding.tolerance <= finding.rule.tolerance:
        return ""
    return f"below {units.percent(finding.tolerance)} is noise, which does not count"


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
    """``2, 4, 8``; of a change with depth ``2 → 4``."""
    if finding.rule.scope == "depth":
        return " → ".join(map(str, finding.depths)) or units.NOTHING
    return ", ".join(map(str, finding.depths)) or units.NOTHING


def _notes(gate: Gate) -> Iterator[str]:
    if any(finding.effect for finding in gate.findings):
        yield "p that it is worse by no more than the tolerance, by Holm"
    for finding in gate.findings:
        if noise := _noise(finding):
            yield f"{finding.rule.text}: {noise}"
    for outcome, reason in dict.fromkeys((f.outcome, f.reason) for f in gate.findings if f.reason):
        alike = [finding for finding in gate.findings if (finding.outcome, finding.reason) == (outcome, reason)]
        locations = dict.fromkeys(_location(finding) for finding in alike)
        yield f"{', '.join(locations)}: {outcome}: {reason}"


def _location(finding: Finding) -> str:
    """The rule and the network, with the depths where there is a finding for each."""
    depths = f" at L={depths_text(finding)}" if finding.rule.scope != "candidate" and finding.depths else ""
    return f"{finding.rule.text} of {finding.network}{depths}"
