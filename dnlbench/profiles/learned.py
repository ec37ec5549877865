"""Runs that never learned. Their weights allow no conclusion."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dnlbench.profiles.model import RunRecord

CHANCE_FRACTION = 0.9
"""Fraction of ``ln(classes)``, the loss of a network that gives each class the same probability. A training loss at or above
it counts as never learned."""


def never_learned(loss: float | None, classes: int | None) -> bool:
    """Return True if a cross-entropy is within 10 % of chance or above it; False if the loss or the classes are unknown."""
    if loss is None or classes is None or not math.isfinite(loss):
        return False
    return loss >= CHANCE_FRACTION * math.log(classes)


def never_learned_text(losses: Sequence[float], runs: int, classes: int | None) -> str:
    """Describe how many runs never learned, their mean loss and the bound."""
    which = f"{len(losses)} of {runs} runs" if runs > 1 else "the run"
    chance = f"{CHANCE_FRACTION:g} times ln({classes}) = {math.log(classes or 1):.2f}"
    loss = f"{sum(losses) / len(losses):.3g}"
    return f"{which} never learned: training loss {loss}, not below {chance}; no conclusion is drawn from the weights"


def runs_that_never_learned(runs: Sequence[RunRecord], classes: int | None) -> list[tuple[RunRecord, float]]:
    """Return the ``ok`` runs that never learned with their final training loss, in training mode if that was measured."""
    losses = [(run, _final_loss(run)) for run in runs if run.status == "ok"]
    return [(run, loss) for run, loss in losses if loss is not None and never_learned(loss, classes)]


def _final_loss(run: RunRecord) -> float | None:
    loss = run.measurements.get("train_loss_batch", run.final_train_loss)
    return loss if isinstance(loss, float) else None
