r"""Curves and surfaces: the continuous parameters of Eq. (7), and random smooth ones.

A one-index parameter is a curve :math:`p(t)`, the connection weights are a surface :math:`K(t, s)`, :math:`0 \le s, t \le 1`.
Both are functions of tensors of times, so that any formula, spline or extension of an array will do. The random ones are
cosine series,

.. math::

    p(t) = \sum_{m < M} c_m \cos(m \pi t), \qquad
    K(t, s) = \sum_{p, q < M} C_{pq} \cos(p \pi t) \cos(q \pi s),

with independent normal coefficients of standard deviation falling like :math:`(1 + m)^{-2}`: analytic, and as rough as their
number of modes allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.architecture import KernelName

Curve = Callable[[Tensor], Tensor]
"""Times of shape (m,), in float64, to values of shape (m, ...), in the curve's own type and on its own device."""
Surface = Callable[[Tensor, Tensor], Tensor]
"""Times ``t`` of shape (r, 1) and ``s`` of shape (j,), as they broadcast, to values of shape (r, j, ...)."""


@dataclass(frozen=True, kw_only=True)
class CosineCurve:
    """``p(t) = sum_m c_m cos(m pi t)``."""

    coefficients: Tensor
    """Shape (M, ...)."""

    def __call__(self, t: Tensor) -> Tensor:
        """Times of shape (m,) to values of shape (m, ...)."""
        M, *shape = self.coefficients.shape
        return (_cosines(t, M, self.coefficients) @ self.coefficients.reshape(M, -1)).view(len(t), *shape)


@dataclass(frozen=True, kw_only=True)
class CosineSurface:
    """``K(t, s) = sum_pq C_pq cos(p pi t) cos(q pi s)``."""

    coefficients: Tensor
    """Shape (P, Q, ...)."""

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        """Times of shapes (r, 1) and (j,) to values of shape (r, j, ...)."""
        P, Q, *shape = self.coefficients.shape
        rows = _cosines(t.flatten(), P, self.coefficients) @ self.coefficients.reshape(P, -1)  # (r, Q · size)
        values = _cosines(s, Q, self.coefficients) @ rows.view(t.numel(), Q, -1)  # (r, j, size)
        return values.view(t.numel(), len(s), *shape)


def _cosines(t: Tensor, modes: int, like: Tensor) -> Tensor:
    """``cos(m pi t_i)``, shape (i, m), in the type and on the device of ``like``."""
    return torch.cos(math.pi * t[:, None] * torch.arange(modes, dtype=t.dtype, device=t.device)).to(like)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """``A(t), b(t), K(t, s), theta(t)`` of Eq. (7), for states of ``n`` positions with ``c`` channels, ``d = n c``."""

    A: Curve
    """(m,) to (m, d, d)."""
    b: Curve
    """(m,) to (m, d)."""
    K: Surface
    """(r, 1), (j,) to (r, j, d, d); read where ``s <= t`` only."""
    V: Curve
    """The value matrix inside N, (m,) to (m, c, c)."""
    Q: Curve | None = None
    """Attention kernel only, (m,) to (m, c, c)."""
    R: Curve | None = None
    """Attention kernel only, (m,) to (m, c, c)."""

    def one_index(self) -> Iterator[tuple[str, Curve]]:
        """The one-index parameters that there are, by name."""
        named = {"A": self.A, "b": self.b, "V": self.V, "Q": self.Q, "R": self.R}
        return ((name, curve) for name, curve in named.items() if curve is not None)


def random_curves(
    kernel: KernelName,
    *,
    positions: int,
    channels: int,
    seed: int,
    modes: int = 4,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Curves:
    """``p(t) = sum_m c_m cos(m pi t)`` with normal ``c_m`` falling like ``(1 + m)^-2``, and ``K`` likewise.

    Equal for equal arguments. All derivatives of these curves of odd order vanish at 0 and 1.

    Matrices are scaled by one over the root of their size, so that states of order 1 stay so.

    Args:
        kernel: whether there are ``Q`` and ``R`` to make.
        positions: ``n``.
        channels: ``c``.
        seed: of the coefficients.
        modes: ``M``, terms of each series.
        scale: factor on all coefficients.
        dtype: of the coefficients and so of all that follows from them.
        device: likewise. The values are the same on each.
    """
    generator = torch.Generator().manual_seed(seed)
    decay = (1.0 + torch.arange(modes, dtype=torch.float64)) ** -2

    def normal(falling: Tensor, *shape: int) -> Tensor:
        """Normal coefficients with the standard deviations ``falling``, over the root of the inputs of a matrix."""
        values = torch.randn(*falling.shape, *shape, generator=generator, dtype=torch.float64)
        size = math.sqrt(shape[-1]) if len(shape) == 2 else 1.0
        return (scale / size * falling.view(*falling.shape, *[1] * len(shape)) * values).to(device=device, dtype=dtype)

    d, c = positions * channels, channels
    curves = {"A": (d, d), "b": (d,), "V": (c, c)} | ({"Q": (c, c), "R": (c, c)} if kernel == "attention" else {})
    return Curves(
        **{name: CosineCurve(coefficients=normal(decay, *shape)) for name, shape in curves.items()},
        K=CosineSurface(coefficients=normal(torch.outer(decay, decay), d, d)),
    )
