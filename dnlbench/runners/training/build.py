"""Networks by name: ours, and the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import SpecError
from dnlbench.events import DataInfo
from dnlbench.studies import Point
from dnlbench.studies.training.spec import TrainingSpec, is_factory


def build_network(spec: TrainingSpec, point: Point, data: DataInfo) -> nn.Module:
    """The network of a point, initialised from torch's global random state.

    A name ``package.module:factory`` is called with the keywords ``depth``, ``input_shape`` (channels, height, width),
    ``classes`` and ``network`` (the spec's ``[network]`` table as a dict), and gives a module from images (B, C, H, W) to
    logits (B, classes).

    Raises:
        SpecError: if the factory cannot be found.
    """
    arguments: dict[str, Any] = {"depth": point.depth, "input_shape": data.input_shape, "classes": data.classes}
    if is_factory(point.network):
        module = find_factory(point.network)(**arguments, network=spec.network.model_dump())
        assert isinstance(module, nn.Module), f"{point.network} gave a {type(module).__name__}, not a torch.nn.Module"
        return module
    return DNLNetwork(point.network, **arguments, **spec.network.model_dump(exclude={"options"}))


def find_factory(name: str) -> Callable[..., Any]:
    """The object that ``package.module:factory`` names; modules in the current folder are found too.

    Raises:
        SpecError: if there is no such module, or nothing callable of that name in it.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file of the user's must not hide an installed package
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise SpecError(f"sweep.networks: {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(factory):
        raise SpecError(f"sweep.networks: {name!r} is of type {type(factory).__name__}; it must be a function")
    return factory  # type: ignore[no-any-return]


def check_point(spec: TrainingSpec, point: Point, data: DataInfo, device: torch.device) -> None:
    """Builds the network of a point, a user's own for real and ours without memory.

    Raises:
        SpecError: if it cannot be built, or if a user's own does not give logits (B, classes) or, where it is part of the
            objective, its regulariser.
    """
    try:
        if not is_factory(point.network):
            with torch.device("meta"):
                build_network(spec, point, data)
            return
        network = build_network(spec, point, data).to(device).eval()
        with torch.no_grad():
            logits = network(torch.zeros(2, *data.input_shape, device=device))
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(
            f"{point.network} at depth {point.depth} cannot be built: {type(error).__name__}: {error}"
        ) from error
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (2, data.classes):
        raise SpecError(
            f"{point.network} at depth {point.depth} gives {shape or type(logits).__name__} for 2 images; "
            f"expected logits of shape (2, {data.classes})"
        )
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
    except Exception as error:
        raise SpecError(
            f"{point.network} at depth {point.depth}: its regulariser() fails: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
        found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise SpecError(f"{point.network}: its regulariser() gives {found}; expected a scalar floating-point tensor")
    if not value.requires_grad:
        raise SpecError(
            f"{point.network}: its regulariser() gives a value without a gradient; it has to be computed from the parameters"
        )
