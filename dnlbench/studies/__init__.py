"""Studies: declarations of the spec, quantities and conclusions of each kind of sweep. They compute nothing."""

from collections.abc import Mapping

from dnlbench.studies.base import (
    THROUGHPUT,
    TRAIN_LOSS,
    Cost,
    DepthFit,
    EpochMetric,
    Estimate,
    FitModel,
    Point,
    Quantity,
    Section,
    Stability,
    Study,
    StudySpec,
    Verdict,
)
from dnlbench.studies.embedding import EMBEDDING
from dnlbench.studies.forward_limit import FORWARD_LIMIT
from dnlbench.studies.optimum_limit import OPTIMUM_LIMIT
from dnlbench.studies.relu_limit import RELU_LIMIT
from dnlbench.studies.training import TRAINING

STUDIES: Mapping[str, Study] = {
    study.name: study for study in (TRAINING, FORWARD_LIMIT, OPTIMUM_LIMIT, RELU_LIMIT, EMBEDDING)
}
"""Studies by their name in specs."""
