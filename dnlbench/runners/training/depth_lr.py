"""The factors of ``train.depth_lr = "matched"`` on learning rate, epsilon and weight decay of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from dnlbench.dnl.depth_rates import UNCHANGED, Exponents, exponents_of, residual_exponents
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import SpecError
from dnlbench.studies import Point
from dnlbench.studies.training.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Factors:
    """The factors of a parameter."""

    lr: float = 1.0
    eps: float = 1.0
    decay: float = 1.0


def depth_factors(spec: TrainingSpec, point: Point, network: nn.Module) -> list[Factors]:
    """Return the factors of each parameter of a network, in the order of its parameters.

    Raises:
        SpecError: if a custom network does not declare its layers.
    """
    if spec.train.depth_lr == "none":
        return [Factors() for _ in network.parameters()]
    exponents = _exponents(network, spec.network.step_scaling)
    m = point.depth / spec.network.base_depth
    return [_factors(exponents.get(p, UNCHANGED), m, spec.train.optimizer) for p in network.parameters()]


def layers_of(network: nn.Module, key: str) -> nn.Module:
    """Return the ``layers`` of a custom network: a module whose children are its residual layers, in order.

    Raises:
        SpecError: if the network does not declare them. ``key`` is the key of the spec that requires them.
    """
    layers = getattr(network, "layers", None)
    if isinstance(layers, nn.Module) and next(layers.children(), None) is not None:
        return layers
    raise SpecError(
        f"{key}: {type(network).__name__} does not declare its layers, which a custom network needs here. Set its attribute "
        "layers to a torch.nn.ModuleList or Sequential of the residual layers, in order; each returns its state"
    )


def _exponents(network: nn.Module, alpha: float) -> Mapping[nn.Parameter, Exponents]:
    if isinstance(network, DNLNetwork):
        return exponents_of(network, alpha)
    layers = layers_of(network, 'train.depth_lr = "matched"')
    return dict.fromkeys(layers.parameters(), residual_exponents(alpha))


def _factors(exponents: Exponents, m: float, optimizer: str) -> Factors:
    """Return the factors at ``m = L / L_base``. Rate times decay, the fraction of a weight lost per step, does not change.

    The decay of Adam is divided by the size of the gradient, which has the factor of epsilon.
    """
    if optimizer == "sgd":
        return Factors(lr=m**exponents.sgd, decay=m**-exponents.sgd)
    coupled = exponents.eps if optimizer == "adam" else 0.0
    return Factors(lr=m**exponents.adam, eps=m**exponents.eps, decay=m ** (coupled - exponents.adam))
