"""The coordinate-check study: does one learning rate serve networks of all depths?

Each run trains a network for a few steps on one batch and measures how far its states and outputs move from their values at
initialization. If these changes do not depend on depth, neither does the best learning rate; if they grow like ``L^q``, deep
networks need a smaller one. Source: the coordinate check of Tensor Programs V (arXiv 2203.03466), over depth as in CompleteP
(arXiv 2505.01618, figure 7).

``|x|`` is the mean absolute value of a state's numbers over the batch. The change of a state is ``|x_t - x_0| / |x_0|`` after
step ``t``: what reads a state divides by its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from dnlbench.stats import Interval
from dnlbench.studies.base import DepthFit, Quantity, Section, Study, Verdict
from dnlbench.studies.training.size import estimate
from dnlbench.studies.training.spec import NetworkSpec

FLAT = 0.15
"""Exponents of depth up to this size count as no change with depth: a factor of 1.7 from L = 2 to 64."""
_RULE = f"transfers: the interval of q is within ±{FLAT}; does not: it is outside; each seed has its own slope"
BY_STEP, BY_LAYER = "Change of the last state by training step", "Change of earlier states, after the last step"
_WITHOUT_EFFECT = frozenset(
    {
        *("epochs", "schedule", "step_epochs", "step_factor", "milestones", "metrics", "evaluate", "evaluate_training"),
        *("last_epochs", "target_loss", "batch_norm"),
    }
)
"""Keys of ``[train]`` that matter only after the first epoch."""


class CheckSettings(Section):
    """``[check]``: the training steps that are measured."""

    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    """Training steps, all on the first batch of the run's first epoch."""


class CoordinateCheckSpec(NetworkSpec):
    """A coordinate check. Its tables are those of training; what matters only after the first epoch has no effect."""

    study: Literal["coordinate-check"] = "coordinate-check"
    check: CheckSettings = CheckSettings()

    def run_settings(self) -> dict[str, Any]:
        settings = super().run_settings()
        return {**settings, "train": {k: v for k, v in settings["train"].items() if k not in _WITHOUT_EFFECT}}


def measured_steps(steps: int) -> tuple[int, ...]:
    """Return the steps after which states are measured: the last one, and its halves down to 1."""
    halves = (steps >> n for n in range(steps.bit_length()))
    return tuple(sorted(halves))


def verdict_on(order: Interval) -> str:
    """Return the verdict on a change that grows like ``L^q``; the order is ``-q``, with its interval over seeds."""
    if order.low is None or order.high is None:
        return "unclear: one seed gives no interval"
    q, low, high = -order.estimate, -order.high, -order.low
    if low >= -FLAT and high <= FLAT:
        return "transfers"
    if low > FLAT:
        return f"does not: it grows like L^{q:.2f}"
    if high < -FLAT:
        return f"does not: it shrinks like L^{q:.2f}"
    return "unclear"


def _adapted(study: Study, settings: Mapping[str, Any]) -> Study:
    """Add the changes after the measured steps but the last."""
    check = settings.get("check")
    steps = check.get("steps") if isinstance(check, Mapping) else None
    steps = steps if isinstance(steps, int) else CheckSettings().steps
    by_step = [_change(name=f"change_step_{n}", label=f"step {n}", table=BY_STEP) for n in measured_steps(steps)[:-1]]
    return replace(study, quantities=(*study.quantities, *by_step))


_change = partial(Quantity, mean="geometric", range="positive")

COORDINATE_CHECK = Study(
    name="coordinate-check",
    title="Does one learning rate serve networks of all depths?",
    spec=CoordinateCheckSpec,
    runner="dnlbench.runners.coordinate_check:CoordinateCheckRunner",
    quantities=(
        _change(name="change", label="change of the last state"),
        _change(name="output_change", label="change of outputs"),
        _change(name="size", label="mean |last state| at initialization"),
        _change(name="change_first_layer", label="first layer", table=BY_LAYER),
        _change(name="change_middle_layer", label="middle layer", table=BY_LAYER),
    ),
    estimate=estimate,
    to_save_memory="smaller depths, a smaller train.batch_size or a smaller network.growth_rate",
    fits=tuple(
        DepthFit(quantity=name, model="growth", verdict=Verdict(observed=verdict_on, rule=_RULE))
        for name in ("change", "output_change")
    ),
    workload_version=1,
    adapt=_adapted,
)
