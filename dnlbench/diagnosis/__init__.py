"""What a finished training sweep says of the theories of depth: its networks measured, and the figures read."""

from dnlbench.diagnosis.carry_out import Source, diagnose, find_source
from dnlbench.diagnosis.model import (
    SERIES,
    TRAINING_SERIES,
    BlockRecord,
    DiagnosedPoint,
    Diagnosis,
    LeftOut,
    RunFigures,
    TrainingBlockRecord,
    TrainingRecord,
    TrendRecord,
)
from dnlbench.diagnosis.summary import QUANTITIES, mean_series, summarise_runs
