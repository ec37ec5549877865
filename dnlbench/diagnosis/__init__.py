"""Diagnosis of a finished training sweep: metrics of its networks, and findings on the theories of depth."""

from dnlbench.diagnosis.execute import Source, diagnose, find_source
from dnlbench.diagnosis.model import (
    SERIES,
    TRAINING_SERIES,
    BlockRecord,
    DiagnosedPoint,
    Diagnosis,
    LeftOut,
    OrderRecord,
    RunMetrics,
    TrainingBlockRecord,
    TrainingRecord,
)
from dnlbench.diagnosis.summary import QUANTITIES, mean_series, summarize_runs
