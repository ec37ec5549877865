"""What a gate is asked to fail on, read from words such as ``throughput:5%``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dnlbench.errors import ConfigurationError
from dnlbench.studies import STUDIES, Quantity

FAILED = "failed"
"""The rule that looks at how runs ended."""
WORSE = "worse"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that must not happen."""

    quantity: str
    """The study's name of it, or `FAILED`."""
    tolerance: float = 0.0
    """How much worse is not a regression yet, as a share: 0.05 bears 1.05 times the loss, or the time of a sample. 0: whatever
    counts as worse."""
    text: str
    """As it was asked for, in one form: ``throughput:5%``."""


def parse_rule(text: str, study: str) -> Rule:
    """Reads ``QUANTITY:worse``, ``QUANTITY:SHARE%`` or ``failed``.

    Raises:
        ConfigurationError: if the study has no such quantity, or it cannot be asked for in this way.
    """
    name, colon, asked = (part.strip() for part in text.partition(":"))
    if name == FAILED and not colon:
        return Rule(quantity=FAILED, text=FAILED)
    quantity = next((q for q in STUDIES[study].quantities if name in (q.name, q.alias) and name), None)
    if quantity is None or not asked:
        raise ConfigurationError(f"rule {text!r}: unknown; {_allowed(study)}")
    if asked == WORSE:
        if quantity.better is None:
            raise ConfigurationError(
                f"rule {text!r}: {name} has no better direction; ask for a share that it may change by, such as {name}:2%"
            )
        return Rule(quantity=quantity.name, text=f"{name}:{WORSE}")
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", asked)
    share = float(match[1]) / 100 if match else math.nan
    if not 0 < share < math.inf:
        raise ConfigurationError(f"rule {text!r}: {asked!r} is neither {WORSE!r} nor a share above 0 such as 5%")
    return Rule(quantity=quantity.name, tolerance=share, text=f"{name}:{share * 100:g}%")


def _allowed(study: str) -> str:
    names = ", ".join(_names(quantity) for quantity in STUDIES[study].quantities)
    return f"a rule is {FAILED!r}, or QUANTITY:{WORSE} or QUANTITY:5% with a quantity of the {study} study: {names}"


def _names(quantity: Quantity) -> str:
    return f"{quantity.alias} ({quantity.name})" if quantity.alias else quantity.name
