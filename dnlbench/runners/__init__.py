"""Runners: how one run is carried out. They live in worker processes, import torch, and yield events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnlbench.runners.base import CHECKPOINT_S, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnlbench.machine import Slot
    from dnlbench.plan import Plan


def create_runner(plan: Plan, slot: Slot, *, checkpoint_s: float = CHECKPOINT_S) -> Runner:
    """The runner for a plan's study, on a slot's device; it keeps a checkpoint after that many seconds at the latest.

    Raises:
        DeviceError: if torch cannot use the device.
    """
    return _runner_of(plan.spec.study)(plan, slot, checkpoint_s=checkpoint_s)


def _runner_of(study: str) -> Callable[..., Runner]:
    """Imports what this study needs and nothing else."""
    match study:
        case "embedding":
            from dnlbench.runners.embedding import EmbeddingRunner

            return EmbeddingRunner
        case "forward-limit":
            from dnlbench.runners.forward_limit import ForwardLimitRunner

            return ForwardLimitRunner
        case "optimum-limit":
            from dnlbench.runners.optimum_limit import OptimumLimitRunner

            return OptimumLimitRunner
        case "relu-limit":
            from dnlbench.runners.relu_limit import ReluLimitRunner

            return ReluLimitRunner
        case _:
            from dnlbench.runners.training import TrainingRunner

            return TrainingRunner
