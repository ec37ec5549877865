"""Networks in training, with all the state that the next training step depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dnlbench.runners.training.depth_lr import Factors
from dnlbench.runners.training.objectives import Outcome
from dnlbench.runners.training.optimize import create_optimizer, create_schedule, parameter_groups, warmup_factor
from dnlbench.studies.training.spec import TrainSettings


def regularizer_method(network: nn.Module) -> Callable[[], Tensor] | None:
    """Return the network's method ``regularizer()``, or ``regulariser()`` if only this older name exists.

    The method computes ``R_L`` of the current parameters: a scalar with a gradient.
    """
    methods = (getattr(network, name, None) for name in ("regularizer", "regulariser"))
    return next((method for method in methods if callable(method)), None)


class Learner:
    """Networks of one point that train together, with their optimizer and learning-rate schedule.

    The state includes the random state of the device. This class has a single network;
    `dnlbench.runners.training.pack.PackLearner` has several. Metrics of each network come in the order of the networks.
    """

    size = 1

    def __init__(self, network: nn.Module, train: TrainSettings, factors: Sequence[Factors] | None = None) -> None:
        """Set the network and its protocol; ``factors`` are those of `depth_factors`, None: all 1."""
        self.network = network
        """The network; in a pack, the module whose parameters are replaced by those of each network."""
        self._train = train
        self.outcome = Outcome.of(train)
        self._weight = train.regulariser_weight
        factors = factors or [Factors() for _ in self.parameters]
        self.optimizer = create_optimizer(train, parameter_groups(train, network, self.parameters, factors))
        self.schedule = create_schedule(train, self.optimizer)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters if p.requires_grad) // self.size

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Compute each network's objective on its own batch.

        Inputs have shape (S, B, …), targets (S, B) or (S, B, …), and the result (S,).
        """
        return self.outcome.loss(self.network(inputs[0]), targets[0]).unsqueeze(0)

    def backward(self, losses: Tensor) -> None:
        """Accumulate gradients of the objectives ``J_L = loss + lambda R_L``, Eq. (4) of arXiv 2510.02049.

        Call it outside autocast: ``R_L`` squares small differences, for which bfloat16 is too coarse. The gradient of ``R_L``
        is computed after the gradient of the loss has freed the activations, so the two are never in memory together.
        """
        torch.autograd.backward(losses.sum())
        if self._weight:
            for index in range(self.size):
                torch.autograd.backward(self._weight * self.regularizer(index))

    @torch.no_grad()
    def regularization(self, index: int) -> float | None:
        """Return ``R_L`` of one network; None if it is not part of the objective."""
        return float(self.regularizer(index)) if self._weight else None

    def gradients(self, index: int) -> dict[str, Tensor]:
        """Return the gradients of one network by parameter name. Parameters without a gradient are absent."""
        return {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}

    def gradient_norms(self) -> Tensor:
        """Return the Euclidean norms of the current gradients, shape (S,)."""
        return torch.stack([nn.utils.get_total_norm(self.gradients(index).values()) for index in range(self.size)])

    def clip(self, norms: Tensor) -> None:
        """Scale the gradient of each network to a norm of at most ``train.clip_norm``. Norms are those of `gradient_norms`."""
        if self._train.clip_norm is not None:
            self._clip(norms, self._train.clip_norm)

    def _clip(self, norms: Tensor, largest: float) -> None:
        nn.utils.clip_grads_with_norm_(self.parameters, largest, norms[0])

    @property
    def rates(self) -> list[float]:
        """The current learning rate of each parameter group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def set_rates(self, step: int) -> None:
        """Set the learning rates of a training step, counted from 0 over all epochs: the schedule's, times the warm-up."""
        factor = warmup_factor(self._train, step)
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate * factor

    def end_epoch(self) -> None:
        """Step the schedule. It computes the next rates from those in the optimizer, which must be without warm-up factor."""
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        self.schedule.step()

    def outputs(self, index: int, inputs: Tensor) -> Any:
        """Apply one network to inputs (B, …)."""
        return self.network(inputs)

    def values(self, index: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of one network by name, without copying them."""
        return {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}

    def regularizer(self, index: int) -> Tensor:
        """Compute ``R_L`` of one network. `check_point` has verified that the method exists."""
        method = regularizer_method(self.network)
        assert method is not None
        return method()

    def persistent_tensors(self) -> list[Tensor]:
        """Return weights, buffers and the optimizer's state: the tensors that stay in memory between training steps."""
        moments = [v for values in self.optimizer.state.values() for v in values.values() if isinstance(v, Tensor)]
        return [*self.parameters, *self.buffers, *moments]

    @property
    def buffers(self) -> list[Tensor]:
        return list(self.network.buffers())

    def states(self) -> list[dict[str, Any]]:
        """Return the full state of each network as tensors and plain values. Resumed training is bit-equal."""
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
    """Return torch's random state on all devices."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "cuda_random": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Restore a state returned by `random_state`."""
    torch.set_rng_state(state["random"])
    if state["cuda_random"]:
        torch.cuda.set_rng_state_all(state["cuda_random"])
