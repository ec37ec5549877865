"""Studies: what each kind of sweep asks, measures and concludes, as declarations without any computation."""

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
"""Every study by its name in a spec."""
