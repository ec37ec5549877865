"""The passes of `dnlbench.dnl.lean.passes` on CPUs, as loops that Numba compiles, once a machine.

Rows are dealt to the threads in ``PARTS`` parts, each with sums of its own that are added up in their order at the end, so that
results do not depend on the number of threads. bfloat16 is not known to Numba: its bits come as uint16, and sums are made in
float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload
from torch import Tensor

PARTS = 64

_compiled = njit(parallel=True, cache=True, fastmath={"nsz", "contract", "reassoc"}, nogil=True)


def publish(x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.publish`. Two readings: squares of what is left of the mean keep their digits."""
    _share_threads()
    seeds, rows, channels = x.shape
    exact = _exact(x)
    first, second = (np.empty((PARTS, channels), exact) for _ in range(2))
    means, variances = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        source = _array(x[seed])
        _copy_and_add(source, _array(place[seed]), first)
        means[seed] = first.sum(axis=0, dtype=np.float64) / rows
        _add_squares(source, means[seed], second)
        variances[seed] = second.sum(axis=0, dtype=np.float64) / rows
    return torch.from_numpy(means), torch.from_numpy(variances)


def rectify(x: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.passes.rectify`."""
    _share_threads()
    for seed in range(len(x)):
        _rectify(_array(x[seed]), _array(scale[seed]), _array(shift[seed]), _array(out[seed]))


def collect(
    dy: Tensor, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.collect`."""
    _share_threads()
    seeds, _, channels = x.shape
    exact = _exact(x)
    parts, moments = (np.empty((PARTS, channels), exact) for _ in range(2))
    sums, products = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        coefficients = (_array(scale[seed]), _array(shift[seed]), _array(mean[seed]))
        _collect(_array(dy[seed]), _array(x[seed]), *coefficients, _array(gradient[seed]), parts, moments)
        sums[seed] = parts.sum(axis=0, dtype=np.float64)
        products[seed] = moments.sum(axis=0, dtype=np.float64)
    return torch.from_numpy(sums), torch.from_numpy(products)


def settle(gradient: Tensor, x: Tensor, constant: Tensor, slope: Tensor, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.passes.settle`."""
    _share_threads()
    for seed in range(len(x)):
        _settle(_array(gradient[seed]), _array(x[seed]), _array(constant[seed]), _array(slope[seed]), _array(out[seed]))


def _share_threads() -> None:
    """As many threads as torch has."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Shares the tensor's memory; bfloat16 as its bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()


def _exact(x: Tensor) -> type[np.floating[Any]]:
    return np.float64 if x.dtype == torch.float64 else np.float32


@intrinsic
def _float_of(typing: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """The float32 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _bits_of(typing: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
    """The bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def _load(stored: Any) -> Any:
    """The number that stands in an array; bfloat16 is the upper half of a float32."""


@overload(_load, inline="always", strict=False)
def _load_compiled(stored: Any) -> Callable[[Any], Any]:
    if stored == types.uint16:
        return lambda stored: _float_of(np.uint32(np.uint32(stored) << np.uint32(16)))
    return lambda stored: stored


def _stored(value: Any, like: Any) -> Any:
    """A number as it stands in an array with elements like this one; to bfloat16 it is rounded to nearest, ties to even."""


@overload(_stored, inline="always", strict=False)
def _stored_compiled(value: Any, like: Any) -> Callable[[Any, Any], Any]:
    if like == types.uint16:

        def rounded(value: Any, like: Any) -> Any:
            bits = _bits_of(value)
            if value != value:  # rounding up could turn a NaN into an infinity
                return np.uint16((bits >> np.uint32(16)) | np.uint32(0x40))
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return rounded
    return lambda value, like: value


@_compiled
def _copy_and_add(x: Any, place: Any, sums: Any) -> None:
    rows, channels = x.shape
    for part in prange(PARTS):
        mine = sums[part]
        mine[:] = 0
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for j in range(channels):
                place[row, j] = x[row, j]
                mine[j] += _load(x[row, j])


@_compiled
def _add_squares(x: Any, mean: Any, sums: Any) -> None:
    rows, channels = x.shape
    for part in prange(PARTS):
        mine = sums[part]
        mine[:] = 0
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for j in range(channels):
                rest = _load(x[row, j]) - mean[j]
                mine[j] += rest * rest


@_compiled
def _rectify(x: Any, scale: Any, shift: Any, out: Any) -> None:
    rows, channels = x.shape
    for part in prange(PARTS):
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for j in range(channels):
                z = _load(x[row, j]) * scale[j] + shift[j]
                out[row, j] = _stored(scale.dtype.type(0) if z <= 0 else z, out[row, j])  # a NaN stays one


@_compiled
def _collect(dy: Any, x: Any, scale: Any, shift: Any, mean: Any, gradient: Any, sums: Any, products: Any) -> None:
    rows, channels = x.shape
    for part in prange(PARTS):
        mine, moments = sums[part], products[part]
        mine[:] = 0
        moments[:] = 0
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for j in range(channels):
                value = _load(x[row, j])
                dz = _load(dy[row, j]) if value * scale[j] + shift[j] > 0 else scale.dtype.type(0)
                mine[j] += dz
                moments[j] += dz * (value - mean[j])
                gradient[row, j] += scale[j] * dz


@_compiled
def _settle(gradient: Any, x: Any, constant: Any, slope: Any, out: Any) -> None:
    rows, channels = x.shape
    for part in prange(PARTS):
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            for j in range(channels):
                out[row, j] = _stored(gradient[row, j] - constant[j] - slope[j] * _load(x[row, j]), out[row, j])
