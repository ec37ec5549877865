r"""Curves and surfaces: the continuous parameters of Eq. (7), and random smooth ones.

A one-index parameter is a curve :math:`p(t)`, the connection weights are a surface :math:`K(t, s)`, :math:`0 \le s, t \le 1`.
Both are functions of tensors of times, such as a formula, a spline or the extension of an array. The random ones are cosine
series,

.. math::

    p(t) = \sum_{m < M} c_m \cos(m \pi t), \qquad
    K(t, s) = \sum_{p, q < M} C_{pq} \cos(p \pi t) \cos(q \pi s),

with independent normal coefficients whose standard deviation falls like :math:`(1 + m)^{-2}`: analytic, and as steep as their
number of modes allows. All their derivatives of odd order vanish at 0 and 1. That favors quadrature rules, whose errors depend
on these derivatives, but not the order of a network: its largest error is a first-order term in the derivative inside the
interval, from sampling a layer too early.

Curves that are not smooth serve as controls for the theory. They are the smooth curves of the same seed plus a matrix times a
rough function of ``t``:

========  ==============================================  ====================
name      g(t)                                            Hölder exponent
========  ==============================================  ====================
kink      |t − t_0|                                       1, at t_0
sqrt      √|t − t_0|                                      ½, at t_0
hoelder   sum_j 3^(−j/2) cos(3^j π t + φ_j), 14 terms     ½, everywhere
jump      1 where t >= t_0, else 0                        none
========  ==============================================  ====================

``t_0`` is the same for all curves, and should not be a point of any grid on which they are sampled. ``hoelder`` is
Weierstrass's function with random phases (G. H. Hardy, Transactions of the AMS 17, 1916), rough down to ``3^-13``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dnlbench.architecture import KERNELS, KernelName, Roughness

Curve = Callable[[Tensor], Tensor]
"""Maps times (m,), in float64, to values (m, ...), in the type and on the device of the curve."""
Surface = Callable[[Tensor, Tensor], Tensor]
"""Maps times ``t`` (r, 1) and ``s`` (j,), which broadcast, to values (r, j, ...)."""


@dataclass(frozen=True, kw_only=True)
class CosineCurve:
    """The curve ``p(t) = sum_m c_m cos(m pi t)``."""

    coefficients: Tensor
    """Shape (M, ...)."""

    def __call__(self, t: Tensor) -> Tensor:
        M, *shape = self.coefficients.shape
        return (_cosines(t, M, self.coefficients) @ self.coefficients.reshape(M, -1)).view(len(t), *shape)


@dataclass(frozen=True, kw_only=True)
class CosineSurface:
    """The surface ``K(t, s) = sum_pq C_pq cos(p pi t) cos(q pi s)``."""

    coefficients: Tensor
    """Shape (P, Q, ...)."""

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        P, Q, *shape = self.coefficients.shape
        rows = _cosines(t.flatten(), P, self.coefficients) @ self.coefficients.reshape(P, -1)  # (r, Q · size)
        values = _cosines(s, Q, self.coefficients) @ rows.view(t.numel(), Q, -1)  # (r, j, size)
        return values.view(t.numel(), len(s), *shape)


def _cosines(t: Tensor, modes: int, like: Tensor) -> Tensor:
    """Compute ``cos(m pi t_i)``, shape (i, m), in the type and on the device of ``like``."""
    return torch.cos(math.pi * t[:, None] * torch.arange(modes, dtype=t.dtype, device=t.device)).to(like)


@dataclass(frozen=True, kw_only=True)
class RoughFunction:
    """The rough function ``g(t)`` of one of the kinds above."""

    kind: Roughness
    t0: float
    phases: Tensor
    """``φ_j`` of hoelder, shape (14,), float64."""

    def __call__(self, t: Tensor) -> Tensor:
        """Return the values at times of any shape, float64."""
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
"""Times closer than this to ``t_0`` or to a grid point count as equal to it."""


@dataclass(frozen=True, kw_only=True)
class RoughCurve:
    """The curve ``p(t) = smooth(t) + C g(t)``."""

    smooth: Curve
    C: Tensor
    g: RoughFunction

    def __call__(self, t: Tensor) -> Tensor:
        return self.smooth(t) + self.g(t).to(self.C).view(-1, *[1] * self.C.dim()) * self.C


@dataclass(frozen=True, kw_only=True)
class RoughSurface:
    """The surface ``K(t, s) = smooth(t, s) + C g(t)``."""

    smooth: Surface
    C: Tensor
    g: RoughFunction

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        return self.smooth(t, s) + self.g(t).to(self.C).view(-1, 1, *[1] * self.C.dim()) * self.C


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The parameters ``A(t), b(t), K(t, s), theta(t)`` of Eq. (7), for ``n`` positions with ``c`` channels, ``d = n c``."""

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
        """Return the existing one-index parameters by name."""
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
    """Draw ``p(t) = sum_m c_m cos(m pi t) [+ C g(t)]`` with normal ``c_m`` falling like ``(1 + m)^-2``, and ``K`` likewise.

    The curves are equal for equal arguments on every device. Rough curves are the smooth curves of their seed plus a rough part
    at ``t0``. Matrices are scaled by one over the root of their size, so that states of order 1 stay of order 1.
    """
    generator = torch.Generator().manual_seed(seed)
    decay = (1.0 + torch.arange(modes, dtype=torch.float64)) ** -2

    def normal(falling: Tensor, *shape: int) -> Tensor:
        """Draw normal coefficients with the standard deviations ``falling``, over the root of the inputs of a matrix."""
        values = torch.randn(*falling.shape, *shape, generator=generator, dtype=torch.float64)
        size = math.sqrt(shape[-1]) if len(shape) == 2 else 1.0
        return (scale / size * falling.view(*falling.shape, *[1] * len(shape)) * values).to(device=device, dtype=dtype)

    d, c = positions * channels, channels
    shapes = {"A": (d, d), "b": (d,), "V": (c, c)} | dict.fromkeys(KERNELS[kernel].matrices, (c, c))
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
