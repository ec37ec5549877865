"""Comparison of profiles: differences in spec and machine, a verdict for each point, and one for each network."""

from dnlbench.comparison.comparing import compare
from dnlbench.comparison.differences import VOLATILE_KEYS
from dnlbench.comparison.gate import Candidate, Finding, Gate, Outcome, candidate_of, gate
from dnlbench.comparison.model import Cell, Comparison, Difference, Match, NewFailure, Overall
from dnlbench.comparison.points import MEASURED_APART
from dnlbench.comparison.rounding import allow_rounding, largest_of, measure_rounding, rounding_floors, rounding_lines
from dnlbench.comparison.rules import FAILED, Rule, parse_rule
from dnlbench.profiles import Verdict, judge
