"""What a finished training sweep says of the theories of depth: its networks measured, and the figures read."""

from dnlbench.diagnosis.carry_out import Source, diagnose, find_source
from dnlbench.diagnosis.figures import (
    SERIES,
    TRAINING_SERIES,
    BlockRecord,
    LeftOut,
    RunFigures,
    TrainingBlockRecord,
    TrainingRecord,
)
from dnlbench.diagnosis.model import Diagnosis
from dnlbench.diagnosis.summary import QUANTITIES, DiagnosedPoint, TrendRecord, mean_series, summarise_runs
