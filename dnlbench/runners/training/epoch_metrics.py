"""Computation of the per-epoch metrics of the training study.

To add a metric, declare an `EpochMetric` in `dnlbench.studies.training` and add a function here that returns its value by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from dnlbench.runners.training.data import Dataset
from dnlbench.runners.training.gradients import median_and_max
from dnlbench.runners.training.learner import Learner

Values = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """The state of training after the last step of an epoch."""

    learner: Learner
    data: Dataset
    gradient_norms: Tensor
    """Norms of the epoch's training steps, shape (steps, S)."""
    full_batches: int
    """Number of steps with full batches. They come first."""
    evaluate: Callable[[int], Values]
    """Returns loss and metrics of a network in evaluation mode by name, on the splits that the spec asks for."""


def gradient_norms(end: EpochEnd, index: int) -> Values:
    """Return the median and maximum Euclidean norm of the objective's gradient."""
    ((median, largest),) = median_and_max(end.gradient_norms[:, index : index + 1], end.full_batches)
    return {"gradient_norm_median": median, "gradient_norm_max": largest}


def regularizer(end: EpochEnd, index: int) -> Values:
    """Return ``R_L`` of the current parameters."""
    return {"regulariser": end.learner.regularization(index)}


def evaluation(end: EpochEnd, index: int) -> Values:
    """Return loss and metrics in evaluation mode."""
    return end.evaluate(index)


MEASURES: tuple[Callable[[EpochEnd, int], Values], ...] = (gradient_norms, regularizer, evaluation)
"""Functions that return metrics of the network at an index by name; None if a metric does not apply. They do not affect
training."""


def measure(end: EpochEnd, index: int) -> dict[str, float]:
    """Return all metrics of the network at an index."""
    values = {name: value for function in MEASURES for name, value in function(end, index).items()}
    return {name: value for name, value in values.items() if value is not None}
