"""Where the per-epoch metrics that the training study declares are computed.

A new metric takes an `EpochMetric` in `dnlbench.studies.training` and a function here that returns its value under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from dnlbench.runners.training.data import Dataset
from dnlbench.runners.training.evaluate import Score
from dnlbench.runners.training.gradients import median_and_max
from dnlbench.runners.training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """Networks in training after the last step of an epoch."""

    learner: Learner
    data: Dataset
    gradient_norms: Tensor
    """Of the epoch's training steps, shape (steps, S)."""
    full_batches: int
    """How many of the steps had full batches; they come first."""
    evaluate: Callable[[int], Score | None]
    """The score of a network on the evaluation split; None without one."""


Values = Mapping[str, float | None]


def gradient_norms(end: EpochEnd, index: int) -> Values:
    """Euclidean norms of the gradient, R_L included where it is part of the objective."""
    ((median, largest),) = median_and_max(end.gradient_norms[:, index : index + 1], end.full_batches)
    return {"gradient_norm_median": median, "gradient_norm_max": largest}


def regulariser(end: EpochEnd, index: int) -> Values:
    """``R_L`` of the parameters as they are."""
    return {"regulariser": end.learner.regularization(index)}


def evaluation(end: EpochEnd, index: int) -> Values:
    """Cross-entropy and accuracy on the evaluation split."""
    found = end.evaluate(index)
    return {"evaluation_loss": found.loss, "evaluation_accuracy": found.accuracy} if found else {}


MEASURES: tuple[Callable[[EpochEnd, int], Values], ...] = (gradient_norms, regulariser, evaluation)
"""Each returns metrics of the network at an index, by name; None for what does not apply. They change nothing in training."""


def measure(end: EpochEnd, index: int) -> dict[str, float]:
    """All metrics of the network at an index."""
    found = {name: value for one in MEASURES for name, value in one(end, index).items()}
    return {name: value for name, value in found.items() if value is not None}
