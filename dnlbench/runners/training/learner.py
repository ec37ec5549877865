"""A network in training, with everything that its next step depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from dnlbench.runners.training.optimise import create_optimizer, create_schedule
from dnlbench.studies.training.spec import TrainSettings


class Regularised(Protocol):
    """A network that tells its own regulariser."""

    def regulariser(self) -> Tensor:
        """``R_L`` of the parameters as they are: a scalar that gradients flow through."""
        ...


class Learner:
    """Network, optimizer and learning-rate schedule. The random state of its device belongs to it too."""

    def __init__(self, network: nn.Module, train: TrainSettings) -> None:
        self.network = network
        self._weight = train.regulariser_weight
        self.optimizer = create_optimizer(train, network.parameters())
        self.schedule = create_schedule(train, self.optimizer)

    @property
    def parameter_count(self) -> int:
        """Number of values that are learned."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the objective ``J_L = loss + lambda R_L``, Eq. (4) of arXiv 2510.02049, added to what is there.

        To be called outside autocast: ``R_L`` squares small differences, for which bfloat16 is too coarse. Its gradient
        comes after that of the loss, when the activations are gone, so that both never lie in memory at once.
        """
        torch.autograd.backward(loss)
        if self._weight:
            torch.autograd.backward(self._weight * self._regularised().regulariser())

    @torch.no_grad()
    def regulariser(self) -> float | None:
        """``R_L`` of the parameters as they are; None where it is not part of the objective."""
        return float(self._regularised().regulariser()) if self._weight else None

    def _regularised(self) -> Regularised:
        return cast(Regularised, self.network)  # `check_point` has seen to it that there is such a method

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
