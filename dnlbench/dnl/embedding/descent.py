"""Gradient descent of a network and of its split, wider network, and the distance between the two.

Both follow ``theta_{k+1} = theta_k − a_k ∇L(theta_k)`` with the same learning rate and the same batches, each with its own
gradients. In exact arithmetic ``eta_k = S theta_k`` at every step for every learning rate. In float64 they differ by rounding.
Descent amplifies rounding if a step is too large for the curvature of the loss, or if the argument of a ReLU passes zero a step
earlier in one of the two. `perturbed` returns a start with rounding errors, which measures the amplification.
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
"""The distance from 1 to the next larger float64."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples with their classes."""

    x: Tensor
    """Inputs, shape (M, …)."""
    y: Tensor
    """Classes, +1 and −1, shape (M,), float64."""

    def of(self, chosen: Tensor) -> Samples:
        return Samples(x=self.x[chosen], y=self.y[chosen])


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The state of a descent before a step."""

    theta: Tensor
    loss: float
    """The loss on the batch of the step."""
    gradient: Tensor


StepSize = Callable[[Moment], float]
"""Returns the step size ``a_k``."""


def logistic_loss(margins: Tensor) -> Tensor:
    """Compute ``mean_m log(1 + exp(−y_m f(theta; x_m)))`` from the margins ``y_m f(theta; x_m)``, without cancellation."""
    return functional.softplus(-margins, threshold=500).mean()


def moment(network: Network, theta: Tensor, samples: Samples) -> Moment:
    """Compute the loss and its gradient; the derivative of ReLU at 0 is 0."""
    leaf = theta.detach().requires_grad_()
    loss = logistic_loss(samples.y * network(leaf, samples.x))
    (gradient,) = torch.autograd.grad(loss, leaf)
    return Moment(theta=leaf.detach(), loss=loss.item(), gradient=gradient)


def descend(
    starts: Sequence[tuple[Network, Tensor]], batches: Sequence[Samples], step_size: StepSize
) -> Iterator[tuple[Moment, ...]]:
    """Run the descents of several networks together, each with its own gradients and step sizes.

    Starts are networks with their ``theta_0``. A step size that depends only on the loss and the norm of the gradient is equal
    for a split network. Yields the moments before each step, and finally those on the last batch again.
    """
    networks, thetas = [network for network, _ in starts], [theta for _, theta in starts]
    for batch in batches:
        here = tuple(moment(network, theta, batch) for network, theta in zip(networks, thetas, strict=True))
        yield here
        thetas = [each.theta - step_size(each) * each.gradient for each in here]
    yield tuple(moment(network, theta, batches[-1]) for network, theta in zip(networks, thetas, strict=True))


def constant(learning_rate: float) -> StepSize:
    """Return the constant step size ``a_k = a``."""
    return lambda _: learning_rate


def polyak(fraction: float) -> StepSize:
    """Return the step size ``a_k = fraction L / ‖∇L‖²`` (Polyak 1987, for the optimal value 0).

    It lowers ``log L`` by about ``fraction`` per step. With a constant rate the loss falls like ``1 / k`` and the direction of
    ``theta`` converges like ``1 / log k``; these steps grow as the loss falls, and reach late times.
    """
    return lambda here: fraction * here.loss / float(here.gradient.square().sum())


def perturbed(theta: Tensor, generator: torch.Generator) -> Tensor:
    """Move each weight up or down by one rounding error, at random."""
    signs = 2 * torch.randint(2, theta.shape, generator=generator) - 1
    return theta * (1 + EPSILON * signs.to(theta))


def distance(actual: Tensor, expected: Tensor) -> float:
    """Return ``‖actual − expected‖ / ‖expected‖``; 0 if both are 0, infinite if only the latter is."""
    difference = float((actual - expected).norm())
    return relative(difference, float(expected.norm()))


def largest(values: Iterable[float]) -> float:
    """Return the largest value; NaN if there is one, unlike `max`."""
    items = list(values)
    return math.nan if any(math.isnan(value) for value in items) else max(items)


def relative(difference: float, scale: float) -> float:
    """Return a difference over a scale; 0 for no difference."""
    if difference == 0:
        return 0.0
    return difference / scale if scale else float("inf")
