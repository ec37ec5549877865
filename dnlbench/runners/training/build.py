"""Build networks by name: built-in and custom ones."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import NetworkError, SpecError
from dnlbench.events import DataInfo
from dnlbench.runners.checkpoint import CheckpointError, packed, require_readable
from dnlbench.runners.custom_code import FAILURES, a, describe, load_function, restored_settings
from dnlbench.runners.training.data import blank_inputs
from dnlbench.runners.training.depth_lr import depth_factors
from dnlbench.runners.training.learner import regularizer_method
from dnlbench.runners.training.objectives import Outcome
from dnlbench.studies import Point
from dnlbench.studies.training.spec import NETWORKS, TrainingSpec, is_factory


def build_network(spec: TrainingSpec, point: Point, data: DataInfo) -> nn.Module:
    """Build the network of a point, initialized from torch's global random state.

    For a name ``package.module:factory``, the factory is called with the keyword arguments ``depth``, ``input_shape``
    (of an image channels, height, width), ``classes`` and ``network`` (the spec's ``[network]`` table as a dict). It returns a
    module that maps inputs (B, …) to outputs (B, classes); if the targets are tokens (B, T), to outputs (B, T, classes).

    One forward pass in evaluation mode initializes lazy layers from the same random state.

    Raises:
        NetworkError: if the factory cannot be imported, or does not return a module.
    """
    spec = spec.at(point)
    arguments: dict[str, Any] = {"depth": point.depth, "input_shape": data.input_shape, "classes": data.classes}
    if is_factory(point.network):
        factory = load_function(NETWORKS, point.network, "sweep.networks")
        with restored_settings():
            module = factory(**arguments, network=spec.network.model_dump())
        if not isinstance(module, nn.Module):
            raise NetworkError(f"{point.network} returns {a(type(module).__name__)}; it must return a torch.nn.Module")
        if _is_lazy(module):
            _materialize(module, data)
        return module
    if len(data.input_shape) != 3 or data.inputs == "tokens" or data.targets != "classes":
        raise SpecError(
            f"sweep.networks: {point.network} needs images (C, H, W) and classes; {data.name} has {data.inputs} of shape "
            f"{data.input_shape} and targets that are {data.targets}. Use a custom network (package.module:factory)"
        )
    return DNLNetwork(
        point.network, **arguments, **spec.network.model_dump(exclude={"attention_initialization", "options"})
    )


def _is_lazy(network: nn.Module) -> bool:
    return any(map(is_lazy, chain(network.parameters(), network.buffers())))


@torch.no_grad()
def _materialize(network: nn.Module, data: DataInfo) -> None:
    """Run one forward pass, in evaluation mode so that batch-norm statistics do not change."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    network(blank_inputs(data, 2))
    for module, mode in modes.items():
        module.training = mode
    if _is_lazy(network):
        raise NetworkError(f"{type(network).__name__} has lazy layers that its forward pass does not use; remove them")


def check_point(
    spec: TrainingSpec, point: Point, data: DataInfo, device: torch.device, outcome: Outcome, targets: Tensor
) -> None:
    """Check that the network of a point can be built; a built-in network without allocating memory.

    A custom network must also return outputs of the right shape, have a state that a checkpoint can store, and, if
    ``train.regulariser_weight`` is not 0, have a regularizer, and for ``train.depth_lr`` declare its layers. A custom objective
    may accept outputs of any shape. Custom objectives and metrics are applied to the outputs and to ``targets``, those of two
    samples.

    Raises:
        SpecError: if a check fails.
    """
    title = f"{point.network} at depth {point.depth}"
    try:
        if not is_factory(point.network):
            with torch.device("meta"):
                build_network(spec, point, data)
            outcome.check(torch.zeros(_expected(data), device=device, requires_grad=True), targets)
            return
        network = build_network(spec, point, data).to(device).eval()
    except SpecError:
        raise
    except FAILURES as error:
        raise NetworkError(f"{title} cannot be built: {describe(error)}") from error
    try:
        outputs = network(blank_inputs(data, 2).to(device))
    except FAILURES as error:
        raise NetworkError(
            f"{title} fails on 2 {data.inputs} of shape {data.input_shape}: {describe(error)}"
        ) from error
    shape = tuple(getattr(outputs, "shape", ()))
    expected = _expected(data)
    if shape != expected and not outcome.objective.is_custom:
        raise NetworkError(
            f"{title} returns {shape or type(outputs).__name__} for 2 {data.inputs}; expected outputs of shape {expected}"
        )
    outcome.check(outputs, targets)
    try:
        require_readable(packed({"network": network.state_dict()}))
    except CheckpointError as error:
        raise NetworkError(f"{title}: {error}") from error
    depth_factors(spec, point, network)
    if spec.train.regulariser_weight:
        _check_regularizer(network, point)


def _expected(data: DataInfo) -> tuple[int, ...]:
    """Return the shape of the outputs for two samples."""
    assert data.classes is not None
    return (2, *(data.input_shape if data.targets == "tokens" else ()), data.classes)


def _check_regularizer(network: nn.Module, point: Point) -> None:
    """Call the regularizer of a custom network once.

    Raises:
        SpecError: if the method is missing, fails, or does not return a floating-point scalar tensor with a gradient.
    """
    method = regularizer_method(network)
    if method is None:
        raise SpecError(
            f"train.regulariser_weight: {point.network} has no method regularizer(). Add one that returns R_L of its "
            "parameters as a scalar tensor, or set the weight to 0"
        )
    try:
        value: object = method()
    except FAILURES as error:
        raise NetworkError(
            f"{point.network} at depth {point.depth}: its regularizer() fails: {describe(error)}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise SpecError(f"{point.network}: its regularizer() returns {kind}; expected a scalar floating-point tensor")
    if not value.requires_grad:
        raise SpecError(
            f"{point.network}: its regularizer() returns a value without a gradient; compute it from the parameters"
        )
