"""The form of a diagnosis: what was measured of each run, and what that comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dnlbench.profiles import IntervalRecord

Series = tuple[float | None, ...]
SERIES = (
    "state_step",
    "map_distance",
    "filter_distance",
    "parameter_step",
    "pattern_change",
    "forward",
    "state_gradient",
    "parameter_gradient",
)
"""Fields of `BlockRecord` that go by layer or state."""


TRAINING_SERIES = tuple(name for name in SERIES if name in ("forward", "state_gradient", "parameter_gradient"))
"""Fields of `TrainingBlockRecord` that go by layer or state."""


class DiagnosisRecord(BaseModel):
    """Part of a diagnosis. Numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity"."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class BlockRecord(DiagnosisRecord):
    """A block; `dnlbench.dnl.diagnosis.metrics.BlockMetrics`, as a child process says it, where each field is defined."""

    first_state: int
    state_step: Series
    map_distance: Series
    filter_distance: Series
    parameter_step: Series
    roughness: Mapping[str, float]
    pattern_change: Series
    forward: Series
    state_gradient: Series
    parameter_gradient: Series


class TrainingBlockRecord(DiagnosisRecord):
    """`dnlbench.dnl.diagnosis.metrics.TrainingBlock`, as a child process says it."""

    forward: Series
    state_gradient: Series
    parameter_gradient: Series


class TrainingRecord(DiagnosisRecord):
    """`dnlbench.dnl.diagnosis.metrics.TrainingMetrics`, as a child process says it."""

    loss: float
    blocks: tuple[TrainingBlockRecord, ...]


class RunMetrics(DiagnosisRecord):
    """A run, block by block from the input to the classifier."""

    run_id: str
    network: str
    depth: int
    seed: int
    blocks: tuple[BlockRecord, ...]
    """In evaluation mode."""
    training: TrainingRecord | None = None
    """In training mode, with the statistics of each batch; None if fewer than two images were measured."""
    never_learned: bool = False
    """Whether the loss in training mode is still near that of chance, so that nothing is concluded from the weights."""


class LeftOut(DiagnosisRecord):
    """A run that was not measured."""

    run_id: str
    reason: str
    ended_well: bool
    """Whether it had been trained to the end, so that its weights should be there."""


class DiagnosedPoint(DiagnosisRecord):
    """All seeds of one network at one depth."""

    network: str
    depth: int
    quantities: dict[str, IntervalRecord]
    """By name in `dnlbench.diagnosis.summary.QUANTITIES`, mean over the seeds with its 95 % t interval. What is not defined is
    left out."""


class OrderRecord(DiagnosisRecord):
    """``value ≈ C · L^-order`` or, along the layers of the deepest networks, ``C · (l + 1)^-order``."""

    network: str
    quantity: str
    along: Literal["L", "l"]
    depth: int
    """The largest."""
    order: float | None = None
    low: float | None = None
    """Of the 95 % t interval over seeds; None for a single one."""
    high: float | None = None
    n: int = 0
    problem: str = ""


class Diagnosis(DiagnosisRecord):
    """A sweep, measured."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", populate_by_name=True)

    schema_: Annotated[Literal["dnlbench.diagnosis/1"], Field(alias="schema")] = "dnlbench.diagnosis/1"
    name: str
    source: str
    """The run directory or profile."""
    samples: int
    """Images of the training data on which states and gradients were measured."""
    device: str
    points: tuple[DiagnosedPoint, ...]
    trends: tuple[OrderRecord, ...]
    findings: dict[str, tuple[str, ...]]
    """What is seen, in words, by network."""
    runs: tuple[RunMetrics, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> str:
        return self.model_dump_json(indent=1, by_alias=True)
