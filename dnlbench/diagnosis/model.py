"""The format of a diagnosis: the measurements of each run, and their summary."""

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
"""Fields of `BlockRecord` with a value for each layer or state."""


TRAINING_SERIES = tuple(name for name in SERIES if name in ("forward", "state_gradient", "parameter_gradient"))
"""Fields of `TrainingBlockRecord` with a value for each layer or state."""


class DiagnosisRecord(BaseModel):
    """Part of a diagnosis. Non-finite numbers are the strings "NaN", "Infinity" and "-Infinity"."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class BlockRecord(DiagnosisRecord):
    """The metrics of a block, from a child process; see `dnlbench.dnl.diagnosis.metrics.BlockMetrics`."""

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
    """The metrics of a block in training mode; see `dnlbench.dnl.diagnosis.metrics.TrainingBlock`."""

    forward: Series
    state_gradient: Series
    parameter_gradient: Series


class TrainingRecord(DiagnosisRecord):
    """The metrics of a network in training mode; see `dnlbench.dnl.diagnosis.metrics.TrainingMetrics`."""

    loss: float
    blocks: tuple[TrainingBlockRecord, ...]


class RunMetrics(DiagnosisRecord):
    """The metrics of a run, block by block from the input to the classifier."""

    run_id: str
    network: str
    depth: int
    seed: int
    blocks: tuple[BlockRecord, ...]
    """The blocks in evaluation mode."""
    training: TrainingRecord | None = None
    """The network in training mode, with the statistics of each batch; None if fewer than two images were measured."""
    never_learned: bool = False
    """True if the loss in training mode is still near that of chance, so the weights allow no conclusion."""


class LeftOut(DiagnosisRecord):
    """A run that was not measured."""

    run_id: str
    reason: str
    ended_well: bool
    """True if the run finished, so its weights should exist."""


class DiagnosedPoint(DiagnosisRecord):
    """The metrics of one network at one depth over all seeds."""

    network: str
    depth: int
    quantities: dict[str, IntervalRecord]
    """Mean over the seeds with its 95 % t interval, by name in `dnlbench.diagnosis.summary.QUANTITIES`, without undefined
    values."""


class OrderRecord(DiagnosisRecord):
    """The fit ``value ≈ C · L^-order`` or, along the layers of the deepest networks, ``C · (l + 1)^-order``."""

    network: str
    quantity: str
    along: Literal["L", "l"]
    depth: int
    """The largest depth."""
    order: float | None = None
    low: float | None = None
    """Lower bound of the 95 % t interval over seeds; None for a single seed."""
    high: float | None = None
    n: int = 0
    problem: str = ""


class Diagnosis(DiagnosisRecord):
    """The diagnosis of a sweep."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", populate_by_name=True)

    schema_: Annotated[Literal["dnlbench.diagnosis/1"], Field(alias="schema")] = "dnlbench.diagnosis/1"
    name: str
    source: str
    """The run directory or profile."""
    samples: int
    """Number of training images on which states and gradients were measured."""
    device: str
    points: tuple[DiagnosedPoint, ...]
    trends: tuple[OrderRecord, ...]
    findings: dict[str, tuple[str, ...]]
    """The findings in words by network."""
    runs: tuple[RunMetrics, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> str:
        return self.model_dump_json(indent=1, by_alias=True)
