"""Studies: what each kind of sweep asks, measures and concludes, as declarations without any computation."""

from collections.abc import Mapping

from dnlbench.studies.base import Estimate, Point, Quantity, Section, Study, StudySpec
from dnlbench.studies.training import TRAINING

STUDIES: Mapping[str, Study] = {study.name: study for study in (TRAINING,)}
"""Every study by its name in a spec."""

__all__ = ["STUDIES", "Estimate", "Point", "Quantity", "Section", "Study", "StudySpec"]
