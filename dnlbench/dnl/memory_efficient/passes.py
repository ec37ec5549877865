r"""The passes over states: one reading of memory each, where the device allows it.

They work on strips of ``c`` channels of arrays (S, R, width), for ``S`` seeds that train side by side and ``R`` positions of a
batch, whose channels lie side by side in memory. Coefficients have shape (S, c), in float32, or float64 where the rows have
that.

=============  =======================================================================================================
`publish`      copies a new state into its place; its mean and variance
`rectify`      :math:`y = \max(0, a x + b)`, the batch norm of a layer and its ReLU
`collect`      of the gradient by ``y``, the part of the gradient by ``x``, added to that of other layers, and the sums
               for ``a`` and ``b``
`settle`       the gradient by ``x`` with that by its mean and variance
=============  =======================================================================================================

On CPUs they are compiled loops (`dnlbench.dnl.memory_efficient.loops`) where Numba is installed, elsewhere operations of torch.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import cast

import torch
from torch import Tensor

from dnlbench.dnl.memory_efficient.rows import Strip

Sums = tuple[Tensor, Tensor]

_IN_LOOPS = (torch.float32, torch.float64, torch.bfloat16)


def publish(x: Strip, place: Strip) -> tuple[Tensor, Tensor]:
    """Copies a state into its place.

    Returns:
        Mean and variance (with divisor ``R``) of each channel, both (S, c).
    """
    if loops := loops_for(x.rows):
        return cast(Sums, loops.publish(x, place))
    place.values.copy_(x.values)
    variance, mean = torch.var_mean(x.values.to(_exact(x)), dim=1, correction=0)
    return mean, variance


def rectify(x: Strip, scale: Tensor, shift: Tensor, out: Strip) -> None:
    """``out = max(0, scale · x + shift)``."""
    if loops := loops_for(x.rows):
        loops.rectify(x, scale, shift, out)
        return
    out.values.copy_(torch.addcmul(_row(shift), x.values.to(scale.dtype), _row(scale)).relu_())


def collect(
    dy: Strip, x: Strip, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Strip, *, begin: bool = False
) -> tuple[Tensor, Tensor]:
    """The way back through `rectify`, as if ``scale`` and ``shift`` did not depend on ``x``.

    With ``dz = 0`` where ``scale · x + shift <= 0`` and ``dy`` elsewhere, also at a NaN: ``gradient += scale · dz``. To
    ``begin`` with, what stands in ``gradient`` does not count.

    Returns:
        ``sum dz`` and ``sum dz (x − mean)`` over the rows, both (S, c).
    """
    if loops := loops_for(x.rows):
        return cast(Sums, loops.collect(dy, x, scale, shift, mean, gradient, begin=begin))
    exact = x.values.to(_exact(x))
    dz = torch.where(torch.addcmul(_row(shift), exact, _row(scale)) <= 0, 0, dy.values).to(exact.dtype)
    if begin:
        gradient.values.zero_()
    gradient.values.addcmul_(dz, _row(scale))
    return dz.sum(dim=1), (dz * (exact - _row(mean))).sum(dim=1)


def settle(gradient: Strip, x: Strip, constant: Tensor, slope: Tensor, out: Strip) -> None:
    """``out = gradient − constant − slope · x``."""
    if loops := loops_for(x.rows):
        loops.settle(gradient, x, constant, slope, out)
        return
    out.values.copy_(gradient.values - _row(constant) - x.values * _row(slope))


def _row(coefficients: Tensor) -> Tensor:
    """(S, c) to (S, 1, c)."""
    return coefficients.unsqueeze(1)


def _exact(x: Strip) -> torch.dtype:
    """What statistics and gradients are added up in."""
    return torch.float64 if x.rows.dtype == torch.float64 else torch.float32


def loops_for(rows: Tensor) -> ModuleType | None:
    """The compiled loops, where they can be used."""
    if rows.device.type != "cpu" or rows.dtype not in _IN_LOOPS or not loops_are_installed():
        return None
    from dnlbench.dnl.memory_efficient import loops

    loops.share_threads()
    return loops


@cache
def loops_are_installed() -> bool:
    """Whether Numba is there to compile the loops with."""
    return importlib.util.find_spec("numba") is not None
