"""Which runs never learned, so that nothing can be concluded from their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dnlbench.profiles.model import RunRecord

CHANCE_FRACTION = 0.9
"""Share of ``ln(classes)``, the loss of a network that gives each class the same probability. A loss at or above it after
training counts as never learned."""


def never_learned(loss: float | None, classes: int | None) -> bool:
    """Whether a cross-entropy is within 10 % of chance or above it. False where the loss or the classes are unknown."""
    if loss is None or classes is None or not math.isfinite(loss):
        return False
    return loss >= CHANCE_FRACTION * math.log(classes)


def never_learned_text(losses: Sequence[float], runs: int, classes: int | None) -> str:
    """Say how many runs never learned, their mean loss and the bound."""
    which = f"{len(losses)} of {runs} runs" if runs > 1 else "the run"
    chance = f"{CHANCE_FRACTION:g} times ln({classes}) = {math.log(classes or 1):.2f}"
    loss = f"{sum(losses) / len(losses):.3g}"
    return f"{which} never learned: training loss {loss}, not below {chance}; nothing is concluded from the weights"


def runs_that_never_learned(runs: Sequence[RunRecord], classes: int | None) -> list[tuple[RunRecord, float]]:
    """Runs that are ``ok`` with their final training loss, with batch statistics where that was measured."""
    losses = [(run, _final_loss(run)) for run in runs if run.status == "ok"]
    return [(run, loss) for run, loss in losses if loss is not None and never_learned(loss, classes)]


def _final_loss(run: RunRecord) -> float | None:
    loss = run.measurements.get("train_loss_batch", run.final_train_loss)
    return loss if isinstance(loss, float) else None
