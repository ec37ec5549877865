r"""The passes over states: one reading of memory each, where the device allows it.

Arrays are rows of channels: shape (S, R, c), for ``S`` seeds that train side by side, ``R`` positions of a batch and ``c``
channels. Channels lie side by side in memory; rows may be further apart, as those of some columns of a wider array are.
Coefficients have shape (S, c), in float32, or float64 where the rows have that.

=============  =======================================================================================================
`publish`      copies a new state into its place; its mean and variance
`rectify`      :math:`y = \max(0, a x + b)`, the batch norm of a layer and its ReLU
`collect`      of the gradient by ``y``, the part of the gradient by ``x``, added to that of other layers, and the sums
               for ``a`` and ``b``
`settle`       the gradient by ``x`` with that by its mean and variance
=============  =======================================================================================================

On CPUs they are compiled loops (`dnlbench.dnl.lean.loops`) where Numba is installed, elsewhere operations of torch.
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor

_IN_LOOPS = (torch.float32, torch.float64, torch.bfloat16)


def publish(x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Copies a state into its place.

    Args:
        x: shape (S, R, c).
        place: the same shape, to be written.

    Returns:
        Mean and variance (with divisor ``R``) of each channel, both (S, c).
    """
    if _has_loops(x):
        from dnlbench.dnl.lean import loops

        return loops.publish(x, place)
    place.copy_(x)
    variance, mean = torch.var_mean(x.to(_exact(x.dtype)), dim=1, correction=0)
    return mean, variance


def rectify(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
    """``out = max(0, scale · x + shift)``; ``out`` has the shape of ``x``."""
    if _has_loops(x):
        from dnlbench.dnl.lean import loops

        loops.rectify(x, scale, shift, out)
        return
    out.copy_(torch.addcmul(_row(shift), x.to(scale.dtype), _row(scale)).relu_())


def collect(
    dy: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """The way back through `rectify`. With ``dz = dy`` where ``scale · x + shift > 0`` and 0 elsewhere,

    ``gradient += scale · dz``, as if ``scale`` and ``shift`` did not depend on ``x``.

    Returns:
        ``sum dz`` and ``sum dz (x − mean)`` over the rows, both (S, c).
    """
    if _has_loops(x):
        from dnlbench.dnl.lean import loops

        return loops.collect(dy, x, scale, shift, mean, gradient)
    exact = x.to(_exact(x.dtype))
    dz = torch.where(torch.addcmul(_row(shift), exact, _row(scale)) > 0, dy, 0).to(exact.dtype)
    gradient.addcmul_(dz, _row(scale))
    return dz.sum(dim=1), (dz * (exact - _row(mean))).sum(dim=1)


def settle(gradient: Tensor, x: Tensor, constant: Tensor, slope: Tensor, out: Tensor) -> None:
    """``out = gradient − constant − slope · x``; ``out`` has the shape of ``x``."""
    if _has_loops(x):
        from dnlbench.dnl.lean import loops

        loops.settle(gradient, x, constant, slope, out)
        return
    out.copy_(gradient - _row(constant) - x * _row(slope))


def _row(coefficients: Tensor) -> Tensor:
    """(S, c) to (S, 1, c)."""
    return coefficients.unsqueeze(1)


def _exact(dtype: torch.dtype) -> torch.dtype:
    """What statistics and gradients of states of a type are added up in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _has_loops(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _IN_LOOPS and loops_are_installed()


@cache
def loops_are_installed() -> bool:
    """Whether Numba is there to compile the loops with."""
    return importlib.util.find_spec("numba") is not None
