"""Batched seeds: several networks that differ only in their seed, trained as one batched computation.

Their values are stacked along a leading axis of seeds, and `torch.vmap` maps the network's operations over it. Seeds share
nothing except the sum of losses from which autograd starts. Each network therefore sees only its own data and gradient, even
if another one diverges, and draws its own random numbers, for example in dropout. The order of summation inside an operation
may differ from that of a single network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from dnlbench.runners.training.depth_lr import Factors
from dnlbench.runners.training.learner import Learner, random_state, regularizer_method, restore_random_state
from dnlbench.studies.training.spec import TrainSettings


class PackLearner(Learner):
    """A learner of several networks of one architecture."""

    def __init__(
        self, networks: Sequence[nn.Module], train: TrainSettings, factors: Sequence[Factors] | None = None
    ) -> None:
        self.size = len(networks)
        self._parameters, self._buffers = stack_module_state(list(networks))
        super().__init__(networks[0], train, factors)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters, with a leading axis of seeds."""
        return list(self._parameters.values())

    @property
    def buffers(self) -> list[Tensor]:
        """The buffers, with a leading axis of seeds."""
        return list(self._buffers.values())

    def losses(self, inputs: Tensor, targets: Tensor) -> Tensor:
        def loss(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self.outcome.loss(functional_call(self.network, (dict(parameters), dict(buffers)), (x,)), y)

        losses: Tensor = torch.vmap(loss, randomness="different")(self._parameters, self._buffers, inputs, targets)
        return losses

    def gradients(self, index: int) -> dict[str, Tensor]:
        return {name: p.grad[index] for name, p in self._parameters.items() if p.grad is not None}

    @torch.no_grad()
    def _clip(self, norms: Tensor, largest: float) -> None:
        factors = (largest / (norms + 1e-6)).clamp(max=1.0)  # as torch does for a single network
        for gradient in (p.grad for p in self.parameters if p.grad is not None):
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))

    def outputs(self, index: int, inputs: Tensor) -> Any:
        return functional_call(self.network, self.values(index), (inputs,))

    def regularizer(self, index: int) -> Tensor:
        values = {f"network.{name}": value for name, value in self.values(index).items()}
        result: Tensor = functional_call(_Regularizer(self.network), values, ())
        return result

    def values(self, index: int) -> dict[str, Tensor]:
        return {name: value[index] for name, value in {**self._parameters, **self._buffers}.items()}

    def states(self) -> list[dict[str, Any]]:
        """Return the state of each network as if it had trained alone; see `Learner.states`."""
        optimizer, schedule, random = self.optimizer.state_dict(), self.schedule.state_dict(), random_state()
        kept = self.network.state_dict().keys()
        values = {name: value for name, value in {**self._parameters, **self._buffers}.items() if name in kept}
        return [
            {
                "network": {name: value[seed].detach().clone() for name, value in values.items()},
                "optimizer": {**optimizer, "state": self._each_moment(optimizer["state"], seed)},
                "schedule": schedule,
                **random,
            }
            for seed in range(self.size)
        ]

    def _each_moment(self, moments: Mapping[int, Mapping[str, Any]], seed: int) -> dict[int, dict[str, Any]]:
        """Return the moments of one seed. Values without an axis of seeds, such as a step count, are common to all seeds."""
        return {
            index: {
                name: value[seed].clone() if isinstance(value, Tensor) and value.dim() else value
                for name, value in of_parameter.items()
            }
            for index, of_parameter in moments.items()
        }

    @torch.no_grad()
    def restore(self, states: Sequence[Mapping[str, Any]]) -> None:
        for name, value in {**self._parameters, **self._buffers}.items():
            if name in states[0]["network"]:
                value.copy_(torch.stack([state["network"][name] for state in states]))
        first = states[0]["optimizer"]
        moments = {
            index: {
                name: torch.stack([state["optimizer"]["state"][index][name] for state in states])
                if isinstance(value, Tensor) and value.dim()
                else value
                for name, value in of_parameter.items()
            }
            for index, of_parameter in first["state"].items()
        }
        self.optimizer.load_state_dict({**first, "state": moments})
        self.schedule.load_state_dict(states[0]["schedule"])
        restore_random_state(states[0])


class _Regularizer(nn.Module):
    """A module whose forward pass is a network's regularizer, for `functional_call` with other parameter values."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> Tensor:
        method = regularizer_method(self.network)
        assert method is not None
        return method()
