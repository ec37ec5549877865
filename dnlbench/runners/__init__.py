"""Runners: how one run is carried out. They live in worker processes, import torch, and yield events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnlbench.runners.base import Runner

if TYPE_CHECKING:
    from dnlbench.machine import Slot
    from dnlbench.plan import Plan


def create_runner(plan: Plan, slot: Slot) -> Runner:
    """The runner for a plan's study, on a slot's device.

    Raises:
        DeviceError: if torch cannot use the device.
    """
    from dnlbench.runners.training import TrainingRunner

    runners = {"training": TrainingRunner}
    return runners[plan.spec.study](plan, slot)


__all__ = ["Runner", "create_runner"]
