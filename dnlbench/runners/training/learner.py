"""A network in training, with everything that its next step depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dnlbench.runners.training.optimise import create_optimizer, create_schedule
from dnlbench.studies.training.spec import TrainSettings


class Learner:
    """Network, optimizer and learning-rate schedule. The random state of its device belongs to it too."""

    def __init__(self, network: nn.Module, train: TrainSettings) -> None:
        self.network = network
        self.optimizer = create_optimizer(train, network.parameters())
        self.schedule = create_schedule(train, self.optimizer)

    @property
    def parameter_count(self) -> int:
        """Number of values that are learned."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def held_tensors(self) -> list[torch.Tensor]:
        """Weights, buffers and the optimizer's state: what stays between two training steps. Gradients are made anew."""
        moments = [
            v for values in self.optimizer.state.values() for v in values.values() if isinstance(v, torch.Tensor)
        ]
        return [*self.network.parameters(), *self.network.buffers(), *moments]

    def state(self) -> dict[str, Any]:
        """All of it as tensors and plain values; training that goes on from here gives the bits it would have given."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": cuda,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
