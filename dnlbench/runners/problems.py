"""What the optimum-limit study learns: inputs and a loss of the last state, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.runners.digits import read_digits
from dnlbench.runners.measuring import derived_seed, normal
from dnlbench.studies.optimum_limit import OptimumLimitSpec

LOGIT_SCALE = 4.0
"""States of tanh networks lie within ±1; logits need more room."""

Problem = tuple[Tensor, Callable[[Tensor], Tensor]]
"""Inputs, shape (M, n, c), and the mean loss of last states of that shape."""


def pose_problem(spec: OptimumLimitSpec, seed: int) -> Problem:
    """The inputs and the loss of a seed."""
    shape = (spec.data.samples, spec.network.positions, spec.network.channels)
    return _regression(shape, seed) if spec.data.problem == "regression" else _digits(shape, seed)


def _regression(shape: tuple[int, int, int], seed: int) -> Problem:
    """``g = 0.8 tanh(2 W2 tanh(W1 x))`` with normal matrices over the root of ``d``; the loss is the mean over components."""
    M, d = shape[0], shape[1] * shape[2]
    x0 = normal(shape, derived_seed(seed, "inputs"))
    W1, W2 = normal((2, d, d), derived_seed(seed, "target")) / math.sqrt(d)
    targets = 0.8 * torch.tanh(2 * torch.tanh(x0.reshape(M, d) @ W1.mT) @ W2.mT)
    return x0, lambda x: functional.mse_loss(x.reshape(M, d), targets.to(x))


def _digits(shape: tuple[int, int, int], seed: int) -> Problem:
    """A random choice of the digits, as patches of pixels in [−1, 1]; the loss is the cross-entropy of ``4 W x``."""
    images, labels = load_digit_images()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(derived_seed(seed, "choice")))[
        : shape[0]
    ]
    x0 = 2 * _patches(images[chosen], *shape[1:]) - 1
    wide = normal((shape[1] * shape[2], 10), derived_seed(seed, "target"))
    W = LOGIT_SCALE * torch.linalg.qr(wide)[0].mT
    return x0, lambda x: functional.cross_entropy(x.flatten(1) @ W.to(x).mT, labels[chosen].to(x.device))


def load_digit_images() -> tuple[Tensor, Tensor]:
    """All 1,797 digits, shape (1797, 8, 8), in [0, 1], float64, and their labels."""
    images, labels = read_digits()
    return torch.from_numpy(images) / 16, torch.from_numpy(labels).long()


def _patches(images: Tensor, positions: int, channels: int) -> Tensor:
    """(M, 8, 8) to (M, n, c): averaged to √(n c) pixels a side, cut into n patches of c pixels."""
    rows, side = math.isqrt(positions), math.isqrt(channels)
    small = functional.avg_pool2d(images[:, None], images.shape[-1] // (rows * side))
    return functional.unfold(small, side, stride=side).mT.contiguous()
