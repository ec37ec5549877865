"""What the runs of a profile hold of a quantity."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dnlbench.profiles.model import RunRecord
from dnlbench.studies import Quantity


def values_of(runs: Iterable[RunRecord], quantity: Quantity) -> dict[int, float]:
    """The finite values of a quantity by seed, of the runs that are ``ok``."""
    values = {run.seed: _value(run, quantity.name) for run in runs if run.status == "ok"}
    return {seed: value for seed, value in values.items() if value is not None and math.isfinite(value)}


def _value(run: RunRecord, name: str) -> float | None:
    """A measurement, or a field of the run that is named as the quantity."""
    found = run.measurements.get(name, getattr(run, name, None))
    return float(found) if isinstance(found, int | float) else None
