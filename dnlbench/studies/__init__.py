"""Studies: declarations of the spec, quantities and conclusions of each kind of sweep. They compute nothing."""

from dnlbench.registry import DeclaredParts
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
from dnlbench.studies.coordinate_check import COORDINATE_CHECK
from dnlbench.studies.embedding import EMBEDDING
from dnlbench.studies.forward_limit import FORWARD_LIMIT
from dnlbench.studies.optimum_limit import OPTIMUM_LIMIT
from dnlbench.studies.relu_limit import RELU_LIMIT
from dnlbench.studies.training import TRAINING

STUDIES = DeclaredParts(
    kind="study",
    plural="studies",
    built_in={
        study.name: study for study in (TRAINING, FORWARD_LIMIT, OPTIMUM_LIMIT, RELU_LIMIT, EMBEDDING, COORDINATE_CHECK)
    },
    form="",
    declaration=Study,
)
"""Studies by their name in specs. Profiles contain this name too, and reading a profile must not import a module that the file
names, so a study of another package needs an entry point."""
