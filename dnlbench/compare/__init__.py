"""Comparison of profiles: differences in spec and machine, a verdict for each point, and one for each network."""

from dnlbench.compare.comparing import compare
from dnlbench.compare.differences import VOLATILE_KEYS
from dnlbench.compare.gate import Candidate, Finding, Gate, Outcome, candidate_of, gate
from dnlbench.compare.model import Cell, Comparison, Difference, Match, NewFailure, Overall
from dnlbench.compare.points import MEASURED_APART
from dnlbench.compare.rounding import allow_rounding, largest_of, measure_rounding, rounding_floors, rounding_lines
from dnlbench.compare.rules import FAILED, Rule, parse_rule
from dnlbench.profiles import Verdict, judge
