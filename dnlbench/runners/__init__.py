"""Runners execute runs. They live in worker processes, import torch and yield events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dnlbench.imports import import_object
from dnlbench.runners.base import CHECKPOINT_S, Runner
from dnlbench.runners.grid import GridRunner

if TYPE_CHECKING:
    from dnlbench.machine import Slot
    from dnlbench.plan import Plan


def create_runner(plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> Runner:
    """Create the runner for a plan's study on a slot's device. It saves a checkpoint at least every ``checkpoint_s`` seconds.

    Raises:
        DeviceError: if torch cannot use the device.
    """
    runner: Any = import_object(plan.study.runner)

    def create(plan: Plan) -> Runner:
        return cast(Runner, runner(plan, slot, checkpoint_s=checkpoint_s))

    return GridRunner(plan, create) if plan.spec.sweep.grid else create(plan)
