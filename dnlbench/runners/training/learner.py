"""Networks in training, with everything that their next step depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.runners.training.optimize import create_optimizer, create_schedule, parameter_groups
from dnlbench.studies.training.spec import TrainSettings


class Regularized(Protocol):
    """A network that tells its own regulariser."""

    def regulariser(self) -> Tensor:
        """``R_L`` of the parameters as they are: a scalar that gradients flow through."""
        ...


class Learner:
    """Networks of one point that train side by side, their optimizer and learning-rate schedule.

    The random state of the device belongs to it too. This one has a single network; `dnlbench.runners.training.pack` has one
    for several. Figures of each network come in the order of the networks.
    """

    size = 1

    def __init__(self, network: nn.Module, train: TrainSettings) -> None:
        self.network = network
        """One of them, or what all have in common."""
        self._weight = train.regulariser_weight
        self.optimizer = create_optimizer(train, parameter_groups(train, network, self.parameters))
        self.schedule = create_schedule(train, self.optimizer)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters if p.requires_grad) // self.size

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of each network on its own batch, images (S, B, C, H, W) and labels (S, B) to shape (S,)."""
        return functional.cross_entropy(self.network(images[0]), labels[0]).unsqueeze(0)

    def backward(self, losses: Tensor) -> None:
        """Gradients of the objectives ``J_L = loss + lambda R_L``, Eq. (4) of arXiv 2510.02049, added to what is there.

        To be called outside autocast: ``R_L`` squares small differences, for which bfloat16 is too coarse. Its gradient
        comes after that of the loss, when the activations are gone, so that both never lie in memory at once.
        """
        torch.autograd.backward(losses.sum())
        if self._weight:
            for index in range(self.size):
                torch.autograd.backward(self._weight * self.regulariser(index))

    @torch.no_grad()
    def regularization(self, index: int) -> float | None:
        """``R_L`` of one of the networks as it is; None where it is not part of the objective."""
        return float(self.regulariser(index)) if self._weight else None

    def gradients(self, index: int) -> dict[str, Tensor]:
        """Gradients of one of the networks by parameter, without those that its loss does not depend on."""
        return {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}

    def gradient_norms(self) -> Tensor:
        """Euclidean norms of the gradients as they are, shape (S,)."""
        return torch.stack([nn.utils.get_total_norm(self.gradients(index).values()) for index in range(self.size)])

    def logits(self, index: int, images: Tensor) -> Tensor:
        """What one of the networks says of images (B, C, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    def values(self, index: int) -> dict[str, Tensor]:
        """Parameters and buffers of one of the networks by name, not copied."""
        return {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}

    def regulariser(self, index: int) -> Tensor:
        """``R_L`` of one of the networks; `check_point` has seen to it that there is such a method."""
        return cast(Regularized, self.network).regulariser()

    def persistent_tensors(self) -> list[Tensor]:
        """Weights, buffers and the optimizer's state: what stays between two training steps. Gradients are made anew."""
        moments = [v for values in self.optimizer.state.values() for v in values.values() if isinstance(v, Tensor)]
        return [*self.parameters, *self.buffers, *moments]

    @property
    def buffers(self) -> list[Tensor]:
        return list(self.network.buffers())

    def states(self) -> list[dict[str, Any]]:
        """All of each network as tensors and plain values; training that goes on gives the bits it would have given."""
        return [
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                **random_state(),
            }
        ]

    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        (state,) = states
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        restore_random_state(state)


def random_state() -> dict[str, Any]:
    """Torch's, of all devices."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "cuda_random": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Goes back to what `random_state` gave."""
    torch.set_rng_state(state["random"])
    if state["cuda_random"]:
        torch.cuda.set_rng_state_all(state["cuda_random"])
