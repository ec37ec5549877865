"""Several networks that differ in their seed alone, trained as one batched computation.

Their values lie side by side with an axis of seeds in front, and `torch.vmap` carries the network's operations over to it.
Nothing is added up across seeds but what autograd starts from, so that each network sees its own data and its own gradient,
whatever becomes of the others, and what it draws at random, in a dropout, it draws for itself. Sums inside of an operation may
be made in another order than for a network alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from dnlbench.runners.training.learner import Learner, Regularized, random_state, restore_random_state
from dnlbench.studies.training.spec import TrainSettings


class PackLearner(Learner):
    """A learner of several networks of one architecture."""

    def __init__(self, networks: Sequence[nn.Module], train: TrainSettings) -> None:
        self.size = len(networks)
        self._parameters, self._buffers = stack_module_state(list(networks))
        super().__init__(networks[0], train)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """With the axis of seeds."""
        return list(self._parameters.values())

    @property
    def buffers(self) -> list[Tensor]:
        """With the axis of seeds."""
        return list(self._buffers.values())

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        def loss(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.network, (dict(parameters), dict(buffers)), (x,))
            return functional.cross_entropy(logits, y)

        found: Tensor = torch.vmap(loss, randomness="different")(self._parameters, self._buffers, images, labels)
        return found

    def gradients(self, index: int) -> dict[str, Tensor]:
        return {name: p.grad[index] for name, p in self._parameters.items() if p.grad is not None}

    def logits(self, index: int, images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.network, self.values(index), (images,))
        return logits

    def regulariser(self, index: int) -> Tensor:
        values = {f"network.{name}": value for name, value in self.values(index).items()}
        found: Tensor = functional_call(_Regularizer(self.network), values, ())
        return found

    def values(self, index: int) -> dict[str, Tensor]:
        return {name: value[index] for name, value in {**self._parameters, **self._buffers}.items()}

    def states(self) -> list[dict[str, Any]]:
        """See `Learner.states`: as if each network had trained alone."""
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
        """Of one seed. What has no axis of seeds, a count of steps, is common to all."""
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
    """A network's regulariser as a module of its own, to be called with other values."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> Tensor:
        return cast(Regularized, self.network).regulariser()
