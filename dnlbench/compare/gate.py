"""Whether comparisons are good enough to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dnlbench.compare.model import Comparison
from dnlbench.compare.rules import Rule
from dnlbench.stats import Interval

Outcome = Literal["pass", "fail", "inconclusive", "not comparable"]
NO_FLOORS: Mapping[str, float] = {}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one network of one candidate."""

    rule: Rule
    candidate: str
    """As `Comparison.candidate`."""
    network: str
    depths: tuple[int, ...]
    """Those that contribute."""
    tolerance: float
    """The rule's, or the quantity's floor where that is larger."""
    effect: Interval | None
    """By what factor the candidate is worse: above 1 is worse, whichever direction is better. Of a quantity without a better
    direction, candidate over reference. None where none can be stated, and of the rule ``failed``."""
    p_adjusted: float | None
    """One-sided, that it is worse by no more than the tolerance; by Holm over all findings of the gate."""
    outcome: Outcome
    reason: str
    """What failed, or why there is no clear outcome; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All rules together."""

    outcome: Outcome
    """``fail`` if any finding fails; else ``not comparable`` if there is a rule that could not be judged at all; else
    ``inconclusive`` if any finding is; else ``pass``."""
    findings: tuple[Finding, ...]
    """By candidate, then by rule, then by network."""


def gate(comparisons: Sequence[Comparison], rules: Sequence[Rule], floors: Mapping[str, float] = NO_FLOORS) -> Gate:
    """Holds comparisons against rules.

    ``floors`` are relative differences by quantity name, below which the machine cannot tell two equal things apart; no
    tolerance is taken to be smaller.

    Raises:
        ConfigurationError: if a rule names a quantity that a comparison's study does not have.
    """
    raise NotImplementedError
