"""Runners execute runs. They live in worker processes, import torch and yield events."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dnlbench.runners.base import CHECKPOINT_S, Runner

if TYPE_CHECKING:
    from dnlbench.machine import Slot
    from dnlbench.plan import Plan

RUNNERS: Mapping[str, str] = {
    "training": "dnlbench.runners.training:TrainingRunner",
    "forward-limit": "dnlbench.runners.forward_limit:ForwardLimitRunner",
    "optimum-limit": "dnlbench.runners.optimum_limit:OptimumLimitRunner",
    "relu-limit": "dnlbench.runners.relu_limit:ReluLimitRunner",
    "embedding": "dnlbench.runners.embedding:EmbeddingRunner",
}
"""Module and class of each study's runner. Only the runner of the plan's study is imported."""


def create_runner(plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> Runner:
    """Create the runner for a plan's study on a slot's device. It saves a checkpoint at least every ``checkpoint_s`` seconds.

    Raises:
        DeviceError: if torch cannot use the device.
    """
    module, _, name = RUNNERS[plan.spec.study].partition(":")
    return cast(Runner, getattr(import_module(module), name)(plan, slot, checkpoint_s=checkpoint_s))
