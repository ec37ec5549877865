r"""Curves and surfaces: the continuous parameters of Eq. (7), and random smooth ones.

A one-index parameter is a curve :math:`p(t)`, the connection weights are a surface :math:`K(t, s)`, :math:`0 \le s, t \le 1`.
Both are functions of tensors of times, so that any formula, spline or extension of an array will do. The random ones are
cosine series,

.. math::

    p(t) = \sum_{m < M} c_m \cos(m \pi t), \qquad
    K(t, s) = \sum_{p, q < M} C_{pq} \cos(p \pi t) \cos(q \pi s),

with independent normal coefficients of standard deviation falling like :math:`(1 + m)^{-2}`: analytic, and as steep as their
number of modes allows. All their derivatives of odd order vanish at 0 and 1. That flatters rules of quadrature, whose errors
are made of these derivatives, but not the order of a network: its largest error is that of sampling a layer too early, a
first-order term in the derivative inside the interval.

Controls for a theory of smooth parameters are curves that are not smooth. They are the smooth ones of the same seed plus a
matrix times one rough function of ``t``:

========  ==============================================  ====================
name      g(t)                                            Hölder exponent
========  ==============================================  ====================
kink      |t − t_0|                                       1, at t_0
sqrt      √|t − t_0|                                      ½, at t_0
hoelder   sum_j 3^(−j/2) cos(3^j π t + φ_j), 14 terms     ½, everywhere
jump      1 where t >= t_0, else 0                        none
========  ==============================================  ====================

``t_0`` is the same for all curves, and should lie on no grid that they are sampled on. ``hoelder`` is
Weierstrass's function with random phases (G. H. Hardy, Transactions of the AMS 17, 1916), rough down to ``3^-13``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.architecture import KernelName, Roughness

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
        M, *shape = self.coefficients.shape
        return (_cosines(t, M, self.coefficients) @ self.coefficients.reshape(M, -1)).view(len(t), *shape)


@dataclass(frozen=True, kw_only=True)
class CosineSurface:
    """``K(t, s) = sum_pq C_pq cos(p pi t) cos(q pi s)``."""

    coefficients: Tensor
    """Shape (P, Q, ...)."""

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        P, Q, *shape = self.coefficients.shape
        rows = _cosines(t.flatten(), P, self.coefficients) @ self.coefficients.reshape(P, -1)  # (r, Q · size)
        values = _cosines(s, Q, self.coefficients) @ rows.view(t.numel(), Q, -1)  # (r, j, size)
        return values.view(t.numel(), len(s), *shape)


def _cosines(t: Tensor, modes: int, like: Tensor) -> Tensor:
    """``cos(m pi t_i)``, shape (i, m), in the type and on the device of ``like``."""
    return torch.cos(math.pi * t[:, None] * torch.arange(modes, dtype=t.dtype, device=t.device)).to(like)


@dataclass(frozen=True, kw_only=True)
class RoughFunction:
    """``g(t)``, a function of one of the kinds above."""

    kind: Roughness
    t0: float
    phases: Tensor
    """``φ_j`` of hoelder, shape (14,), float64."""

    def __call__(self, t: Tensor) -> Tensor:
        """Times of any shape to values of the same, float64."""
        match self.kind:
            case "kink":
                return (t - self.t0).abs()
            case "sqrt":
                return (t - self.t0).abs().sqrt()
            case "jump":
                return (t >= self.t0 - SNAP).to(t.dtype)
            case "hoelder":
                j = torch.arange(len(self.phases), dtype=t.dtype, device=t.device)
                waves = torch.cos(3**j * math.pi * t[..., None] + self.phases.to(t))
                return waves @ 3 ** (-j / 2)
            case "smooth":
                return torch.zeros_like(t)


SNAP = 1e-9
"""A time that is so near to ``t_0``, or to a point of a grid, is that one, however it was rounded."""


@dataclass(frozen=True, kw_only=True)
class RoughCurve:
    """``p(t) = smooth(t) + C g(t)``."""

    smooth: Curve
    C: Tensor
    g: RoughFunction

    def __call__(self, t: Tensor) -> Tensor:
        return self.smooth(t) + self.g(t).to(self.C).view(-1, *[1] * self.C.dim()) * self.C


@dataclass(frozen=True, kw_only=True)
class RoughSurface:
    """``K(t, s) = smooth(t, s) + C g(t)``."""

    smooth: Surface
    C: Tensor
    g: RoughFunction

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        return self.smooth(t, s) + self.g(t).to(self.C).view(-1, 1, *[1] * self.C.dim()) * self.C


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
    roughness: Roughness = "smooth",
    t0: float = 1 / 3,
    dtype: torch.dtype = torch.float64,
    device: torch.device | None = None,
) -> Curves:
    """``p(t) = sum_m c_m cos(m pi t) [+ C g(t)]`` with normal ``c_m`` falling like ``(1 + m)^-2``, and ``K`` likewise.

    Equal for equal arguments, on every device. Rough curves are the smooth ones of their seed and a rough part at ``t0``.
    Matrices are scaled by one over the root of their size, so that states of order 1 stay so.
    """
    generator = torch.Generator().manual_seed(seed)
    decay = (1.0 + torch.arange(modes, dtype=torch.float64)) ** -2

    def normal(falling: Tensor, *shape: int) -> Tensor:
        """Normal coefficients with the standard deviations ``falling``, over the root of the inputs of a matrix."""
        values = torch.randn(*falling.shape, *shape, generator=generator, dtype=torch.float64)
        size = math.sqrt(shape[-1]) if len(shape) == 2 else 1.0
        return (scale / size * falling.view(*falling.shape, *[1] * len(shape)) * values).to(device=device, dtype=dtype)

    d, c = positions * channels, channels
    shapes = {"A": (d, d), "b": (d,), "V": (c, c)} | ({"Q": (c, c), "R": (c, c)} if kernel == "attention" else {})
    curves = {name: CosineCurve(coefficients=normal(decay, *shape)) for name, shape in shapes.items()}
    K = CosineSurface(coefficients=normal(torch.outer(decay, decay), d, d))
    if roughness == "smooth":
        return Curves(**curves, K=K)
    one = torch.ones((), dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(_WAVES, generator=generator, dtype=torch.float64)
    g = RoughFunction(kind=roughness, t0=t0, phases=phases)
    rough = {name: RoughCurve(smooth=curve, C=normal(one, *shapes[name]), g=g) for name, curve in curves.items()}
    return Curves(**rough, K=RoughSurface(smooth=K, C=normal(one, d, d), g=g))


_WAVES = 14
