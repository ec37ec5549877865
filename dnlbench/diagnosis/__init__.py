"""What a finished training sweep says of the theories of depth: its networks measured, and the figures read."""

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
