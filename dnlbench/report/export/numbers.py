"""Numbers that are not finite, in text."""

from __future__ import annotations

import math


def or_word(value: float) -> float | str:
    """A number that is not finite as the word that profiles have for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
