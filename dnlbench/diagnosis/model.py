"""The form of a diagnosis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dnlbench.diagnosis.figures import Figures, LeftOut, RunFigures
from dnlbench.diagnosis.summary import DiagnosedPoint, TrendRecord


class Diagnosis(Figures):
    """A sweep, measured."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings", populate_by_name=True)

    schema_: Annotated[Literal["dnlbench.diagnosis/1"], Field(alias="schema")] = "dnlbench.diagnosis/1"
    name: str
    """Of the sweep."""
    source: str
    """The run directory or profile."""
    samples: int
    """Images of the training data on which states and gradients were measured."""
    device: str
    points: tuple[DiagnosedPoint, ...]
    trends: tuple[TrendRecord, ...]
    findings: dict[str, tuple[str, ...]]
    """What is seen, in words, by network."""
    runs: tuple[RunFigures, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> str:
        return self.model_dump_json(indent=1, by_alias=True)
