"""Gradient descent of a network and of the wide one that it was split into, and how far the two are apart.

Both follow ``theta_{k+1} = theta_k − a_k ∇L(theta_k)`` with the same learning rate and the same batches, each by its own
gradients. In exact arithmetic ``eta_k = S theta_k`` at every step, whatever the learning rate. In float64 what is left is
rounding, as far as descent itself does not enlarge it: a step that is too large for the loss's curvature does, and so does a
ReLU whose argument passes zero a step earlier in one of the two. `perturbed` makes a start that is off by rounding errors, to
see by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.embedding.networks import Network

EPSILON = 2.0**-52
"""Between 1 and the next larger number in float64."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What is classified."""

    x: Tensor
    """Inputs, shape (M, …)."""
    y: Tensor
    """Their classes, +1 and −1, shape (M,), float64."""

    def of(self, chosen: Tensor) -> Samples:
        return Samples(x=self.x[chosen], y=self.y[chosen])


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a descent is before a step."""

    theta: Tensor
    loss: float
    """Of the step's batch."""
    gradient: Tensor


StepSize = Callable[[Moment], float]
"""``a_k``."""


def logistic_loss(margins: Tensor) -> Tensor:
    """``mean_m log(1 + exp(−y_m f(theta; x_m)))`` of the ``y_m f(theta; x_m)``; exact relative to its size."""
    return functional.softplus(-margins, threshold=500).mean()


def moment(network: Network, theta: Tensor, samples: Samples) -> Moment:
    """The loss and its gradient; at the kink of a ReLU its slope is 0."""
    leaf = theta.detach().requires_grad_()
    loss = logistic_loss(samples.y * network(leaf, samples.x))
    (gradient,) = torch.autograd.grad(loss, leaf)
    return Moment(theta=leaf.detach(), loss=loss.item(), gradient=gradient)


def descend(
    starts: Sequence[tuple[Network, Tensor]], batches: Sequence[Samples], step_size: StepSize
) -> Iterator[tuple[Moment, ...]]:
    """Descents of several networks side by side, each by its own gradients and step sizes.

    Starts are networks with their ``theta_0``. Where a step size depends on loss and gradient's norm alone it is the same for
    a split network. Yields the moments before each step, and after all of them those on the last batch again.
    """
    networks, thetas = [network for network, _ in starts], [theta for _, theta in starts]
    for batch in batches:
        here = tuple(moment(network, theta, batch) for network, theta in zip(networks, thetas, strict=True))
        yield here
        thetas = [each.theta - step_size(each) * each.gradient for each in here]
    yield tuple(moment(network, theta, batches[-1]) for network, theta in zip(networks, thetas, strict=True))


def constant(learning_rate: float) -> StepSize:
    """``a_k = a``."""
    return lambda _: learning_rate


def polyak(fraction: float) -> StepSize:
    """``a_k = fraction L / ‖∇L‖²`` (Polyak 1987, for the optimal value 0), which lowers ``log L`` by about ``fraction`` a step.

    With a constant rate the loss falls like ``1 / k`` and the direction of ``theta`` settles like ``1 / log k``; these steps
    grow as the loss falls, and lead to late times.
    """
    return lambda here: fraction * here.loss / float(here.gradient.square().sum())


def perturbed(theta: Tensor, generator: torch.Generator) -> Tensor:
    """Each weight up or down by one rounding error, as chance has it."""
    signs = 2 * torch.randint(2, theta.shape, generator=generator) - 1
    return theta * (1 + EPSILON * signs.to(theta))


def distance(found: Tensor, expected: Tensor) -> float:
    """``‖found − expected‖ / ‖expected‖``; 0 where both vanish, and infinite where only the latter does."""
    difference = float((found - expected).norm())
    return relative(difference, float(expected.norm()))


def largest(values: Iterable[float]) -> float:
    """The largest one; NaN if there is one, which `max` may pass over."""
    found = list(values)
    return math.nan if any(math.isnan(value) for value in found) else max(found)


def relative(difference: float, scale: float) -> float:
    """A difference over a size; 0 where there is no difference."""
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")
