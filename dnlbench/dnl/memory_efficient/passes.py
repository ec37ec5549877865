r"""The passes over states. Each reads memory once if the device allows it.

They operate on slices of ``c`` channels of arrays (S, R, width), for ``S`` batched seeds and ``R`` positions of a batch, with
contiguous channels. Coefficients have shape (S, c), in float32, or in float64 if the rows are float64.

=======================  =====================================================================================
`store_with_statistics`  copy a new state into the buffer; return its mean and variance
`bn_relu`                :math:`y = \max(0, a x + b)`, the batch norm of a layer and its ReLU
`bn_relu_backward`       add the gradient with respect to ``x``, for fixed ``a`` and ``b``, to that of other layers;
                         return the sums for the gradients of ``a`` and ``b``
`statistics_backward`    the full gradient with respect to ``x``, through mean and variance too
=======================  =====================================================================================

On CPUs they are compiled loops (`dnlbench.dnl.memory_efficient.loops`) if Numba is installed, otherwise torch operations.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import cast

import torch
from torch import Tensor

from dnlbench.dnl.memory_efficient.rows import ChannelSlice

Sums = tuple[Tensor, Tensor]

_IN_LOOPS = (torch.float32, torch.float64, torch.bfloat16)


def store_with_statistics(x: ChannelSlice, target: ChannelSlice) -> tuple[Tensor, Tensor]:
    """Copy a state into the buffer.

    Returns:
        Mean and variance (with divisor ``R``) of each channel, both (S, c).
    """
    if loops := loops_for(x.rows):
        return cast(Sums, loops.store_with_statistics(x, target))
    target.values.copy_(x.values)
    variance, mean = torch.var_mean(x.values.to(_exact(x)), dim=1, correction=0)
    return mean, variance


def bn_relu(x: ChannelSlice, scale: Tensor, shift: Tensor, out: ChannelSlice) -> None:
    """Compute ``out = max(0, scale · x + shift)``."""
    if loops := loops_for(x.rows):
        loops.bn_relu(x, scale, shift, out)
        return
    out.values.copy_(torch.addcmul(_row(shift), x.values.to(scale.dtype), _row(scale)).relu_())


def bn_relu_backward(
    dy: ChannelSlice,
    x: ChannelSlice,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    gradient: ChannelSlice,
    *,
    begin: bool = False,
) -> tuple[Tensor, Tensor]:
    """Compute the backward pass of `bn_relu` for ``scale`` and ``shift`` that do not depend on ``x``.

    ``gradient += scale · dz``, with ``dz = 0`` where ``scale · x + shift <= 0`` and ``dz = dy`` elsewhere, NaN included. With
    ``begin`` the gradient is overwritten.

    Returns:
        ``sum dz`` and ``sum dz (x − mean)`` over the rows, both (S, c).
    """
    if loops := loops_for(x.rows):
        return cast(Sums, loops.bn_relu_backward(dy, x, scale, shift, mean, gradient, begin=begin))
    exact = x.values.to(_exact(x))
    dz = torch.where(torch.addcmul(_row(shift), exact, _row(scale)) <= 0, 0, dy.values).to(exact.dtype)
    if begin:
        gradient.values.zero_()
    gradient.values.addcmul_(dz, _row(scale))
    return dz.sum(dim=1), (dz * (exact - _row(mean))).sum(dim=1)


def statistics_backward(
    gradient: ChannelSlice, x: ChannelSlice, constant: Tensor, slope: Tensor, out: ChannelSlice
) -> None:
    """Compute ``out = gradient − constant − slope · x``."""
    if loops := loops_for(x.rows):
        loops.statistics_backward(gradient, x, constant, slope, out)
        return
    out.values.copy_(gradient.values - _row(constant) - x.values * _row(slope))


def _row(coefficients: Tensor) -> Tensor:
    return coefficients.unsqueeze(1)  # (S, 1, c)


def _exact(x: ChannelSlice) -> torch.dtype:
    """The type in which statistics and gradients are accumulated."""
    return torch.float64 if x.rows.dtype == torch.float64 else torch.float32


def loops_for(rows: Tensor) -> ModuleType | None:
    """Return the compiled loops, or None if they cannot be used."""
    if rows.device.type != "cpu" or rows.dtype not in _IN_LOOPS or not loops_are_installed():
        return None
    from dnlbench.dnl.memory_efficient import loops

    loops.match_torch_threads()
    return loops


@cache
def loops_are_installed() -> bool:
    """Return True if Numba, which compiles the loops, is installed."""
    return importlib.util.find_spec("numba") is not None
