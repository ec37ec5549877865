"""Profile against profile: what differs in what was asked and where, a verdict for each point, and one for each network."""

from dnlbench.compare.comparing import compare
from dnlbench.compare.differences import OF_THE_MOMENT
from dnlbench.compare.gate import Finding, Gate, Outcome, gate
from dnlbench.compare.model import Cell, Comparison, Difference, NewFailure, Overall, Verdict
from dnlbench.compare.rules import FAILED, Rule, parse_rule
from dnlbench.compare.sides import MEASURED_APART
from dnlbench.compare.verdicts import judge

__all__ = [
    "FAILED",
    "MEASURED_APART",
    "OF_THE_MOMENT",
    "Cell",
    "Comparison",
    "Difference",
    "Finding",
    "Gate",
    "NewFailure",
    "Outcome",
    "Overall",
    "Rule",
    "Verdict",
    "compare",
    "gate",
    "judge",
    "parse_rule",
]
