"""What is measured once an epoch, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from dnlbench.stats import Range


@dataclass(frozen=True, kw_only=True)
class CurveMetric:
    """Something that is measured once an epoch."""

    name: str
    """Field of the profile's epochs that holds it."""
    label: str
    unit: str = ""
    """Empty for a pure number."""
    log: bool = False
    """Whether its axis is logarithmic at first."""
    range: Range = "positive"
    """Where its values can lie."""
    machine_bound: bool = False
    """Whether it is measured once for all runs of a pack."""


CURVE_METRICS = (
    CurveMetric(name="train_loss", label="training loss", unit="nats", log=True),
    CurveMetric(name="evaluation_loss", label="evaluation loss", unit="nats", log=True),
    CurveMetric(name="evaluation_accuracy", label="evaluation accuracy", range="share"),
    CurveMetric(name="gradient_norm_median", label="gradient norm, median", log=True),
    CurveMetric(name="gradient_norm_max", label="gradient norm, maximum", log=True),
    CurveMetric(name="gradient_norm", label="gradient norm, last batch", log=True),
    CurveMetric(name="regulariser", label="regulariser R_L", log=True),
    CurveMetric(name="samples_per_s", label="throughput", unit="samples/s", machine_bound=True),
)
"""In the order in which they are offered."""
