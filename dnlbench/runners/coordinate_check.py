"""Runs of the coordinate-check study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.dnl.states import SeparateStates
from dnlbench.events import Prepared, RunEvent
from dnlbench.plan import Run
from dnlbench.runners.base import Job
from dnlbench.runners.device import run_started, set_float32_precision
from dnlbench.runners.measuring import Check, Measurements, measured
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order
from dnlbench.runners.training.depth_lr import layers_of
from dnlbench.runners.training.progress import Tally
from dnlbench.studies.coordinate_check import CoordinateCheckSpec, measured_steps
from dnlbench.studies.training.spec import is_factory

KEY = "study = 'coordinate-check'"
"""The key that requires layers of custom networks, for messages."""
Hook = Callable[..., None]
Coordinates = list[Tensor]
"""The states of all layers in their order, and the outputs last."""


class CoordinateCheckRunner(TrainingRunner):
    """Trains a network for a few steps on one batch, and measures how far its states and outputs move."""

    def prepare(self) -> Prepared:
        prepared = super().prepare()
        custom = {run.point.network: run for run in self.plan.runs if is_factory(run.point.network)}
        for run in custom.values():
            layers_of(self.setup.learner([run]).network, KEY)
        return prepared

    def run(self, job: Job) -> Iterator[RunEvent]:
        set_float32_precision(self.spec.train.precision)
        main = self.plan.study.quantities[0].name
        for member in job.members:
            parameters = self.setup.learner([member.run]).parameter_count
            yield run_started(member, self.slot, self.device, pack_size=len(job.members), parameters=parameters)
            yield from measured(member.run, job, self.measure, main=main)

    def measure(self, run: Run, check: Check) -> Measurements:
        train, data = self.spec.train, self.data.training
        steps = cast(CoordinateCheckSpec, self.plan.spec).check.steps
        learner = self.setup.learner([run])
        learner.network.train()
        if isinstance(learner.network, DNLNetwork):
            learner.network.implementation = "standard"  # the other one does not keep its states as tensors
        indices = epoch_order(len(data), run.seed, epoch=1)[: train.batch_size].to(self.device)
        inputs, _ = data.batch(indices)
        step = self.setup.step([run], learner, Tally.start(self.device, 1, steps))
        start = coordinates(learner.network, inputs)
        changes = {}
        for n in range(1, steps + 1):
            check()
            learner.set_rates(n - 1)
            step(indices[None])
            if n in measured_steps(steps):
                changes[n] = relative_changes(start, coordinates(learner.network, inputs))
        *layers, output = changes[steps]
        by_step = {f"change_step_{n}": each[-2] for n, each in changes.items() if n < steps}
        return {
            "change": layers[-1],
            "output_change": output,
            "size": float(start[-2].abs().mean()),
            "change_first_layer": layers[0],
            "change_middle_layer": layers[(len(layers) - 1) // 2],
            "change_of_layers": tuple(layers),
            **by_step,
        }


@torch.no_grad()
def coordinates(network: nn.Module, inputs: Tensor) -> Coordinates:
    """Return the states of each layer and the outputs, in training mode. Dropout draws the same numbers in each call."""
    states: Coordinates = []
    hooks = [module.register_forward_hook(hook) for module, hook in _hooks(network, states)]
    cuda = [inputs.device] if inputs.is_cuda else []
    try:
        with torch.random.fork_rng(cuda):
            torch.manual_seed(0)
            outputs = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [*states, outputs]


def _hooks(network: nn.Module, states: Coordinates) -> Iterator[tuple[nn.Module, Hook]]:
    """Yield the modules that compute states, each with a forward hook that appends its states."""

    def of_block(module: nn.Module, inputs: object, output: SeparateStates) -> None:
        states.extend(output.kept[1:])

    def of_layer(module: nn.Module, inputs: object, output: Tensor | Sequence[Tensor]) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    if isinstance(network, DNLNetwork):
        yield from ((block, of_block) for block in network.blocks)
    else:
        yield from ((layer, of_layer) for layer in layers_of(network, KEY).children())


def relative_changes(start: Coordinates, now: Coordinates) -> list[float]:
    """Return ``mean |x_t - x_0| / mean |x_0|`` of each state, and ``mean |y_t - y_0|`` of the outputs."""
    changes = [float((b - a).abs().mean()) for a, b in zip(start, now, strict=True)]
    sizes = [float(state.abs().mean()) for state in start[:-1]]
    return [*(change / size for change, size in zip(changes, sizes, strict=False)), changes[-1]]
