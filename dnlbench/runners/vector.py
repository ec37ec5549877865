"""Networks, random parameters and learning problems of the studies on the vector form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.architecture import Roughness
from dnlbench.dnl.curves import Curves, random_curves
from dnlbench.dnl.vector import VectorForm
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.measuring import derived_seed, normal
from dnlbench.studies.optimum_limit import OptimumLimitSpec
from dnlbench.studies.vector import VectorSpec


def form_of(spec: VectorSpec, network: str) -> VectorForm:
    """Return the form of the network with this name."""
    kernel, activation = spec.networks[network]
    return VectorForm(kernel=kernel, activation=activation, bandwidth=spec.network.bandwidth, slope=spec.network.slope)


def curves_of(
    spec: VectorSpec, network: str, seed: int, device: torch.device, roughness: Roughness = "smooth", t0: float = 1 / 3
) -> Curves:
    """Draw random parameters for a network; see `random_curves`."""
    kernel, _ = spec.networks[network]
    return random_curves(
        kernel,
        positions=spec.network.positions,
        channels=spec.network.channels,
        seed=seed,
        modes=spec.curves.modes,
        scale=spec.curves.scale,
        roughness=roughness,
        t0=t0,
        device=device,
    )


LOGIT_SCALE = 4.0
"""States of tanh networks lie within ±1; logits need more room."""

Problem = tuple[Tensor, Callable[[Tensor], Tensor]]
"""Inputs, shape (M, n, c), and the mean loss as a function of the last states, which have the same shape."""


def pose_problem(spec: OptimumLimitSpec, seed: int) -> Problem:
    """Create the inputs and the loss for a seed."""
    shape = (spec.data.samples, spec.network.positions, spec.network.channels)
    return _regression(shape, seed) if spec.data.problem == "regression" else _digits(shape, seed)


def _regression(shape: tuple[int, int, int], seed: int) -> Problem:
    """Regress on ``g = 0.8 tanh(2 W2 tanh(W1 x))`` with standard normal matrices divided by ``√d``.

    The loss is the mean squared error over components.
    """
    M, d = shape[0], shape[1] * shape[2]
    x0 = normal(shape, derived_seed(seed, "inputs"))
    W1, W2 = normal((2, d, d), derived_seed(seed, "target")) / math.sqrt(d)
    targets = 0.8 * torch.tanh(2 * torch.tanh(x0.reshape(M, d) @ W1.mT) @ W2.mT)
    return x0, lambda x: functional.mse_loss(x.reshape(M, d), targets.to(x))


def _digits(shape: tuple[int, int, int], seed: int) -> Problem:
    """Classify a random sample of the digits, as patches of pixels in [−1, 1]. The loss is the cross-entropy of ``4 W x``."""
    images, labels = load_digit_images()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(derived_seed(seed, "choice")))[
        : shape[0]
    ]
    x0 = 2 * _patches(images[chosen], *shape[1:]) - 1
    wide = normal((shape[1] * shape[2], 10), derived_seed(seed, "target"))
    W = LOGIT_SCALE * torch.linalg.qr(wide)[0].mT
    return x0, lambda x: functional.cross_entropy(x.flatten(1) @ W.to(x).mT, labels[chosen].to(x.device))


def _patches(images: Tensor, positions: int, channels: int) -> Tensor:
    """Map (M, 8, 8) to (M, n, c): average to √(n c) pixels per side, then cut into n patches of c pixels."""
    rows, side = math.isqrt(positions), math.isqrt(channels)
    small = functional.avg_pool2d(images[:, None], images.shape[-1] // (rows * side))
    return functional.unfold(small, side, stride=side).mT.contiguous()
