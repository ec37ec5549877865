"""Profiles and sweeps as figures: pure, and generic over what a study declares."""

from dnlbench.profiles.law import fit_words, law_of
from dnlbench.report.metrics import CURVE_METRICS, CurveMetric
from dnlbench.tui.figures.depth import depth_figure, depth_quantities
from dnlbench.tui.figures.epochs import OVERS, Over, curve_metrics, epoch_figure
from dnlbench.tui.figures.naming import letter

__all__ = [
    "CURVE_METRICS",
    "OVERS",
    "CurveMetric",
    "Over",
    "curve_metrics",
    "depth_figure",
    "depth_quantities",
    "epoch_figure",
    "fit_words",
    "law_of",
    "letter",
]
