"""Gate rules, parsed from text such as ``throughput:5%``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from dnlbench.errors import ConfigurationError
from dnlbench.studies import Quantity, Study

FAILED = "failed"
"""The rule on failed runs."""
WORSE = "worse"


Scope = Literal["candidate", "depth", "network"]
"""``candidate``: compare the candidate with the reference. ``depth``: within the candidate's profile, compare each depth with
the one before. ``network``: within the candidate's profile, compare each network with the first one at equal depth."""
SCOPES: tuple[Scope, ...] = ("depth", "network")
"""The scopes that can prefix a rule."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition that a candidate must not violate."""

    quantity: str
    """The name of the study's quantity, or `FAILED`."""
    tolerance: float = 0.0
    """The relative degradation that is allowed: 0.05 allows 1.05 times the loss, or the time of a sample. 0: none that counts
    as worse."""
    scope: Scope = "candidate"
    text: str
    """The rule in its canonical form: ``throughput:5%``."""


def parse_rule(text: str, study: Study) -> Rule:
    """Parse ``QUANTITY:worse`` or ``QUANTITY:PERCENT%``, optionally after ``depth:`` or ``network:``, or ``failed``.

    Raises:
        ConfigurationError: if the study has no such quantity, or the quantity does not allow the rule.
    """
    scope, rest = _scope(text)
    name, colon, asked = (part.strip() for part in rest.partition(":"))
    if name == FAILED and not colon and scope == "candidate":
        return Rule(quantity=FAILED, text=FAILED)
    quantity = next((q for q in study.quantities if name in (q.name, q.alias) and name), None)
    if quantity is None or not asked:
        raise ConfigurationError(f"rule {text!r}: unknown; {_allowed(study)}")
    if scope != "candidate" and quantity.name not in study.contrasts:
        tested = ", ".join(_names(q) for q in study.quantities if q.name in study.contrasts)
        raise ConfigurationError(
            f"rule {text!r}: the {study.name} study does not test {name} within a profile; it tests {tested or 'nothing'}"
        )
    start = "" if scope == "candidate" else f"{scope}:"
    if asked == WORSE:
        if quantity.better is None:
            raise ConfigurationError(
                f"rule {text!r}: {name} has no better direction; give the change that is allowed, such as {name}:2%"
            )
        return Rule(quantity=quantity.name, scope=scope, text=f"{start}{name}:{WORSE}")
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", asked)
    fraction = float(match[1]) / 100 if match else math.nan
    if not 0 < fraction < math.inf:
        raise ConfigurationError(f"rule {text!r}: {asked!r} is neither {WORSE!r} nor a percentage above 0 such as 5%")
    return Rule(quantity=quantity.name, tolerance=fraction, scope=scope, text=f"{start}{name}:{fraction * 100:g}%")


def _scope(text: str) -> tuple[Scope, str]:
    start, colon, rest = text.partition(":")
    for scope in SCOPES:
        if colon and start.strip() == scope:
            return scope, rest
    return "candidate", text


def _allowed(study: Study) -> str:
    names = ", ".join(_names(quantity) for quantity in study.quantities)
    within = ", ".join(_names(quantity) for quantity in study.quantities if quantity.name in study.contrasts)
    more = f"; within a profile, depth:QUANTITY:{WORSE} or network:QUANTITY:{WORSE} with {within}" if within else ""
    return f"a rule is {FAILED!r}, or QUANTITY:{WORSE} or QUANTITY:5% with a quantity of the {study.name} study: {names}{more}"


def _names(quantity: Quantity) -> str:
    return f"{quantity.alias} ({quantity.name})" if quantity.alias else quantity.name
