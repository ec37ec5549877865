r"""The regularizer ``R_L`` of the learning problem: squared norms of parameters that are samples in depth.

With the step :math:`\tau = 1/L`, for a one-index sequence :math:`p^0 … p^{L-1}`

.. math:: r_1(p) = \tau \sum_l |p^l|^2 + \frac{1}{\tau} \sum_l |p^{l+1} - p^l|^2,

and for the two-index connection weights :math:`K^{l,k}`, :math:`k \le l`, flipped across the diagonal to the full square
:math:`\tilde K`,

.. math:: r_2(K) = \tau^2 \sum_{l,k} |\tilde K^{l,k}|^2 + \sum_{l,k} |\tilde K^{l+1,k} - \tilde K^{l,k}|^2
                   + \sum_{l,k} |\tilde K^{l,k+1} - \tilde K^{l,k}|^2.

For samples of a smooth curve, ``r1`` is the left-point rule for the squared norm of ``H¹`` on ``[0, 1]``; for samples of a
function on the triangle ``s <= t``, ``r2`` is that rule for its reflection on ``[0, 1]²``.

Source: arXiv 2510.02049, Eq. (4)–(6) and Definition 2. Its displayed formulas were not legible in the text at hand; these
forms were rebuilt from its words.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dnlbench.dnl.parameters import Arrays, unpack


def flip(K: Tensor) -> Tensor:
    """Return ``K~``: entry ``(l, k)`` with ``k > l`` is ``(k, l)`` (Definition 2); (L, L, ...) to the same.

    Entries above the diagonal are never read: they may be NaN, and their gradient is 0.

    Raises:
        ValueError: if the first two dimensions are not equal.
    """
    if K.dim() < 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"connection weights have shape (L, L, …), not {tuple(K.shape)}")
    index = torch.arange(len(K), device=K.device)
    stays = index[:, None] >= index
    return torch.where(stays.view(*stays.shape, *[1] * (K.dim() - 2)), K, K.transpose(0, 1))


def sequence_energy(p: Tensor, step: float | None = None) -> Tensor:
    """Compute ``r1(p) = tau sum_l |p^l|² + (1/tau) sum_l |p^{l+1} − p^l|²``, a scalar, for ``p`` of shape (L, ...).

    ``step`` is ``tau``, by default ``1/L``.

    Raises:
        ValueError: if ``p`` has no dimension, or if it is empty and no step is given.
    """
    step = _step(p, step)
    return step * p.square().sum() + p.diff(dim=0).square().sum() / step


def square_energy(K: Tensor, step: float | None = None) -> Tensor:
    """Compute ``r2(K) = tau² sum |K~^{l,k}|² + sum |K~^{l+1,k} − K~^{l,k}|² + sum |K~^{l,k+1} − K~^{l,k}|²``.

    A scalar, for ``K`` of shape (L, L, ...); ``K~`` as in `flip`, ``tau`` as in `sequence_energy`.

    Raises:
        ValueError: if the first two dimensions are not equal, or if ``K`` is empty and no step is given.
    """
    square = flip(K)
    # The square is symmetric: its differences along l are those along k, transposed.
    return _step(K, step) ** 2 * square.square().sum() + 2 * square.diff(dim=0).square().sum()


def regularizer(arrays: Arrays) -> Tensor:
    """Compute ``R_L = sum_p r1(p) + r2(K)`` over the one-index parameters ``p`` of a network in vector form, ``tau = 1/L``.

    A scalar. For image networks see `dnlbench.dnl.networks.DNLNetwork.regularizer`.
    """
    energies = [sequence_energy(p) for _, p in arrays.one_index()]
    return torch.stack([*energies, square_energy(unpack(arrays.K))]).sum()


def _step(samples: Tensor, step: float | None) -> float:
    if samples.dim() == 0 or (step is None and len(samples) == 0):
        raise ValueError(f"samples in depth have shape (L, …) with L >= 1, not {tuple(samples.shape)}")
    return 1 / len(samples) if step is None else step
