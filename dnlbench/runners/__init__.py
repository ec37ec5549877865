"""Runners: how one run is carried out. They live in worker processes, import torch, and yield events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnlbench.runners.base import CHECKPOINT_S, Runner

if TYPE_CHECKING:
    from dnlbench.machine import Slot
    from dnlbench.plan import Plan


def create_runner(plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> Runner:
    """The runner for a plan's study, on a slot's device; it keeps a checkpoint after that many seconds at the latest.

    Raises:
        DeviceError: if torch cannot use the device.
    """
    from dnlbench.runners.training import TrainingRunner

    runners = {"training": TrainingRunner}
    return runners[plan.spec.study](plan, slot, checkpoint_s=checkpoint_s)


__all__ = ["Runner", "create_runner"]
