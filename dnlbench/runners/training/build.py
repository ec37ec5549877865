"""Networks by name: ours, and the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import NetworkError, SpecError
from dnlbench.events import DataInfo
from dnlbench.runners.checkpoint import CheckpointError, packed, require_readable
from dnlbench.runners.custom_code import FAILURES, describe, restored_settings
from dnlbench.studies import Point
from dnlbench.studies.training.spec import TrainingSpec, is_factory


def build_network(spec: TrainingSpec, point: Point, data: DataInfo) -> nn.Module:
    """The network of a point, initialised from torch's global random state.

    A name ``package.module:factory`` is called with the keywords ``depth``, ``input_shape`` (channels, height, width),
    ``classes`` and ``network`` (the spec's ``[network]`` table as a dict), and gives a module from images (B, C, H, W) to
    logits (B, classes).

    Lazy layers get their shapes, and their values from the same random state, in one pass in evaluation mode.

    Raises:
        NetworkError: if the factory cannot be found, or gives no module.
    """
    arguments: dict[str, Any] = {"depth": point.depth, "input_shape": data.input_shape, "classes": data.classes}
    if is_factory(point.network):
        factory = find_factory(point.network)
        with restored_settings():
            module = factory(**arguments, network=spec.network.model_dump())
        if not isinstance(module, nn.Module):
            raise NetworkError(f"{point.network} returns {_a(type(module).__name__)}; it must return a torch.nn.Module")
        if _is_lazy(module):
            _materialize(module, data.input_shape)
        return module
    return DNLNetwork(
        point.network, **arguments, **spec.network.model_dump(exclude={"attention_initialization", "options"})
    )


def _is_lazy(network: nn.Module) -> bool:
    return any(map(is_lazy, chain(network.parameters(), network.buffers())))


@torch.no_grad()
def _materialize(network: nn.Module, shape: tuple[int, ...]) -> None:
    """In evaluation mode, so that statistics of batch norm stay as they are."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    network(torch.zeros(2, *shape))
    for module, mode in modes.items():
        module.training = mode
    if _is_lazy(network):
        raise NetworkError(f"{type(network).__name__} has lazy layers that its forward pass does not use; remove them")


def find_factory(name: str) -> Callable[..., Any]:
    """The object that ``package.module:factory`` names; modules in the current folder are found too.

    Raises:
        NetworkError: if there is no such module, or nothing callable of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file of the user's must not hide an installed package
    try:
        with restored_settings():
            factory = getattr(importlib.import_module(module_name), attribute)
    except FAILURES as error:
        raise NetworkError(f"sweep.networks: {name!r} cannot be imported: {describe(error)}") from error
    if not callable(factory):
        raise NetworkError(f"sweep.networks: {name!r} is {_a(type(factory).__name__)}; it must be a function")
    return factory  # type: ignore[no-any-return]


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def check_point(spec: TrainingSpec, point: Point, data: DataInfo, device: torch.device) -> None:
    """Builds the network of a point, a user's own for real and ours without memory.

    Raises:
        SpecError: if it cannot be built, or if a user's own does not give logits (B, classes) or, where it is part of the
            objective, its regulariser, or has a state that no checkpoint can hold.
    """
    title = f"{point.network} at depth {point.depth}"
    try:
        if not is_factory(point.network):
            with torch.device("meta"):
                build_network(spec, point, data)
            return
        network = build_network(spec, point, data).to(device).eval()
    except SpecError:
        raise
    except FAILURES as error:
        raise NetworkError(f"{title} cannot be built: {describe(error)}") from error
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, *data.input_shape, device=device))
    except FAILURES as error:
        raise NetworkError(f"{title} fails on 2 images of shape {data.input_shape}: {describe(error)}") from error
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, data.classes):
        raise NetworkError(
            f"{title} gives {shape or type(logits).__name__} for 2 images; expected logits of shape (2, {data.classes})"
        )
    try:
        require_readable(packed({"network": network.state_dict()}))
    except CheckpointError as error:
        raise NetworkError(f"{title}: {error}") from error
    if spec.train.regulariser_weight:
        _check_regulariser(network, point)


def _check_regulariser(network: nn.Module, point: Point) -> None:
    """Calls a user's ``regulariser()`` once.

    Raises:
        SpecError: if there is none, if it fails, or if it gives anything but a scalar tensor of floating-point numbers.
    """
    method = getattr(network, "regulariser", None)
    if not callable(method):
        raise SpecError(
            f"train.regulariser_weight: {point.network} has no method regulariser(); give it one that returns R_L of its "
            "parameters as a scalar tensor, or leave the weight at 0"
        )
    try:
        value = method()
    except FAILURES as error:
        raise NetworkError(
            f"{point.network} at depth {point.depth}: its regulariser() fails: {describe(error)}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
        found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise SpecError(f"{point.network}: its regulariser() gives {found}; expected a scalar floating-point tensor")
    if not value.requires_grad:
        raise SpecError(
            f"{point.network}: its regulariser() gives a value without a gradient; it has to be computed from the parameters"
        )
