r"""The non-local transformation inside a layer, and its kernels.

For a state of ``n`` positions with ``c`` channels each,

.. math:: N(x)_i = \frac{1}{C_i(x)} \sum_j \kappa(x_i, x_j) \, x_j, \qquad C_i(x) = \sum_j \kappa(x_i, x_j).

============  ==========================================  ==================================
kernel        :math:`\kappa(x_i, x_j)`                    source
============  ==========================================  ==================================
local         1 if i = j else 0                           DenseNet (Huang et al. 2017)
attention     exp((Q x_i)·(R x_j) / sqrt(c))              embedded Gaussian, self-attention
gaussian      exp(x_i · x_j)                              Wang et al. 2018
rbf           exp(−‖x_i − x_j‖² / (2 h²))                 non-local means, Buades et al. 2005
============  ==========================================  ==================================

A matrix ``V`` before ``x_j`` is absorbed in the connection weights that follow ``N``. The networks therefore differ only in the
kernel, and with the local kernel ``N`` is the identity.

With the normalizer ``C`` the three non-local kernels are softmax attention. None of them stores the ``n`` × ``n`` matrix:
`torch.nn.functional.scaled_dot_product_attention` computes it in tiles.

Source: arXiv 2510.02049, section 2 and remark 1. Its displayed formulas were not legible in the text at hand; these forms
were rebuilt from its words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dnlbench.architecture import KERNELS, KernelName
from dnlbench.dnl.seeds import for_all_seeds

_ALIGNMENT = 8
"""Channels are padded with zeros to a multiple of this on CUDA, as the tiled kernels require."""


def softmax_average(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Compute ``sum_j softmax_j(scale · query_i · key_j) value_j``: (..., n, d), (..., n, d) and (..., n, c) to (..., n, c).

    The tiled kernels, which never store the (n, n) matrix, require an equal number of channels in all three, on CUDA a multiple
    of 8. Zero channels in ``query`` and ``key`` do not change the products, and those in ``value`` are removed from the result,
    so padding changes no result.
    """
    channels, widest = value.shape[-1], max(2, query.shape[-1], value.shape[-1])  # a single channel is not tiled
    if value.is_cuda:
        widest += -widest % _ALIGNMENT
    query, key, value = (_padded(x, widest) for x in (query, key, value))
    average = for_all_seeds(lambda *of_seeds: _attend(of_seeds, scale), query, key, value)
    return average if widest == channels else average[..., :channels]


def _attend(of_seeds: Sequence[Tensor], scale: float) -> Tensor:
    """Compute attention of several seeds at once, with their axis merged into the batch; vmap would loop over them."""
    query, key, value = (x.flatten(0, -4) if x.dim() > 4 else x for x in of_seeds)
    return functional.scaled_dot_product_attention(query, key, value, scale=scale).view(of_seeds[-1].shape)


def _padded(x: Tensor, channels: int) -> Tensor:
    """Pad with zero channels to the given number, without a copy if there is nothing to pad."""
    return x if x.shape[-1] == channels else functional.pad(x, (0, channels - x.shape[-1]))


def attention(x: Tensor, q: Tensor, r: Tensor) -> Tensor:
    """Compute ``N`` with ``kappa = exp((Q x_i)·(R x_j) / sqrt(c))``; shape (..., n, c) to the same, matrices (c, c)."""
    return softmax_average(x @ q.mT, x @ r.mT, x, scale=1 / math.sqrt(x.shape[-1]))


def gaussian(x: Tensor) -> Tensor:
    """Compute ``N`` with ``kappa = exp(x_i · x_j)``: attention with query = key = x and scale 1; (..., n, c) to the same."""
    return softmax_average(x, x, x, scale=1.0)


def rbf(x: Tensor, bandwidth: float) -> Tensor:
    """Compute ``N`` with ``kappa = exp(−‖x_i − x_j‖² / (2 h²))``; shape (..., n, c) to the same.

    The kernel is invariant to shifts of x, so the mean is subtracted first, which keeps the squares small. The term ``‖x_i‖²``
    is common to numerator and normalizer and cancels. The rest is ``(x_i·x_j − ‖x_j‖²/2) / h²``: attention on ``[x_i, 1]`` and
    ``[x_j, −‖x_j‖²/2]`` with scale ``1 / h²``.
    """
    y = x - x.mean(dim=-2, keepdim=True).detach()  # the result does not depend on the shift, so its gradient is 0
    half_square = y.square().sum(dim=-1, keepdim=True) / 2  # (..., n, 1)
    query = torch.cat([y, torch.ones_like(half_square)], dim=-1)
    key = torch.cat([y, -half_square], dim=-1)
    return softmax_average(query, key, x, scale=1 / bandwidth**2)


class NonLocal(nn.Module):
    """The transformation ``N`` on images, with pixels as positions: shape (B, c, H, W) to the same.

    A kernel is a subclass with `average` and `stretch`. Learned matrices are named by `dnlbench.architecture.KERNELS`. They are
    initialized like those of a linear layer; `dnlbench.dnl.initialization.unit_scores` scales those of attention.
    """

    kernel: KernelName

    def __init__(self, channels: int, bandwidth: float) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        for name in KERNELS[self.kernel].matrices:
            self.add_module(name.lower(), nn.Linear(channels, channels, bias=False))

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        """Compute ``N`` of states (..., n, c) to the same."""
        raise NotImplementedError

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        """Compute the Lipschitz bound ``lambda(r)`` of `dnlbench.dnl.assumptions` for ``n > 1`` positions; (L, B) to (L, B)."""
        raise NotImplementedError

    @property
    def matrices(self) -> dict[str, Tensor]:
        """The learned matrices by name."""
        return {name: self.get_submodule(name.lower()).weight for name in KERNELS[self.kernel].matrices}  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        # One head. The tiled kernels require contiguous channels, as in the channels-last format.
        positions = x.flatten(2).mT.contiguous().unsqueeze(1)  # (B, 1, H W, c)
        return self.transform(positions).squeeze(1).mT.view(x.shape)

    def transform(self, positions: Tensor) -> Tensor:
        """Compute ``N`` on shape (..., n, c)."""
        return self.average(positions, list(self.matrices.values()), self.bandwidth)


class Local(NonLocal):
    """The identity."""

    kernel = "local"

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        return x

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        return torch.ones_like(r)


class Attention(NonLocal):
    """Attention with learned matrices ``Q`` and ``R``."""

    kernel = "attention"
    q: nn.Linear
    r: nn.Linear

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        return attention(x, *matrices)

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        Q, R = matrices
        norms: Tensor = torch.linalg.matrix_norm(Q.mT @ R, ord=2)
        return _stretch_of_products(r.square() * norms[:, None] / math.sqrt(Q.shape[-1]))


class Gaussian(NonLocal):
    """The Gaussian kernel, without parameters."""

    kernel = "gaussian"

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        return gaussian(x)

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        return _stretch_of_products(r.square())


class Rbf(NonLocal):
    """The distance kernel of non-local means with bandwidth ``h``."""

    kernel = "rbf"

    @staticmethod
    def average(x: Tensor, matrices: Sequence[Tensor], bandwidth: float) -> Tensor:
        return rbf(x, bandwidth)

    @staticmethod
    def stretch(r: Tensor, matrices: Sequence[Tensor], bandwidth: float, n: int) -> Tensor:
        from scipy.special import lambertw  # training never needs it

        a = (r / bandwidth).square()
        everywhere = 1 + 4 * float(lambertw((n - 1) / math.e).real)
        return (a + (1 - 2 * a + 4 * a.square()).clamp(min=1).sqrt()).clamp(max=everywhere)


def _stretch_of_products(a: Tensor) -> Tensor:
    return a + (1 + a.square()).sqrt()


IMPLEMENTATIONS: Mapping[KernelName, type[NonLocal]] = {each.kernel: each for each in (Local, Attention, Gaussian, Rbf)}
"""Kernels by name."""


def image_kernel(name: KernelName, channels: int, bandwidth: float) -> nn.Module:
    """Build the transformation ``N`` of one state with ``channels`` channels."""
    return nn.Identity() if KERNELS[name].is_identity else IMPLEMENTATIONS[name](channels, bandwidth)
