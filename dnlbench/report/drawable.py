"""Which values a chart has a place for: axes have margins and ticks beyond what is on them, and these are floats, too."""

from __future__ import annotations

LARGEST = 1e250
"""In size; its inverse is the smallest. Between the two lie 500 decades, and margins have 50 more at either end."""


def drawable(value: float) -> float | None:
    """The value; 0 for one that hardly differs from it; None for one that is too large, infinite or NaN."""
    if not abs(value) <= LARGEST:  # of a NaN nothing is true
        return None
    return value if abs(value) >= 1 / LARGEST else 0.0
