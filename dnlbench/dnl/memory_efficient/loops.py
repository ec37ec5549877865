"""The passes of `dnlbench.dnl.memory_efficient.passes` on CPUs, as loops compiled by Numba and cached on disk.

Rows are distributed to the threads in ``PARTS`` parts. Each part has its own sums, which are added in a fixed order at the end,
so results do not depend on the number of threads. Numba has no bfloat16: such rows are passed as their bits (uint16), and sums
are float32.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange, types
from numba.extending import overload
from torch import Tensor

from dnlbench.dnl.memory_efficient.rows import ChannelSlice

PARTS = 64

_FLAGS = {"nsz", "contract"}
_compiled = njit(parallel=True, cache=True, nogil=True, fastmath=_FLAGS)
_inlined = njit(nogil=True, fastmath=_FLAGS)


def store_with_statistics(x: ChannelSlice, target: ChannelSlice) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.memory_efficient.passes.store_with_statistics`. Squares of centered values keep their digits."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    of_part, squares = (np.empty((PARTS, channels), exact) for _ in range(2))
    means, variances = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        _store_with_statistics(*_of(x, seed), *_of(target, seed), of_part, squares, means[seed], variances[seed])
    return torch.from_numpy(means), torch.from_numpy(variances)


def bn_relu(x: ChannelSlice, scale: Tensor, shift: Tensor, out: ChannelSlice) -> None:
    """See `dnlbench.dnl.memory_efficient.passes.bn_relu`."""
    lines = _lines(scale, shift)
    for seed in range(x.shape[0]):
        _bn_relu(*_of(x, seed), lines[seed], *_of(out, seed))


def bn_relu_backward(
    dy: ChannelSlice,
    x: ChannelSlice,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    gradient: ChannelSlice,
    *,
    begin: bool,
) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.memory_efficient.passes.bn_relu_backward`."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    parts, moments = (np.empty((PARTS, channels), exact) for _ in range(2))
    sums, products = (np.empty((seeds, channels), exact) for _ in range(2))
    lines = _lines(scale, shift, mean)
    for seed in range(seeds):
        places = (*_of(dy, seed), *_of(x, seed), lines[seed], *_of(gradient, seed))
        _bn_relu_backward(*places, begin, parts, moments, sums[seed], products[seed])
    return torch.from_numpy(sums), torch.from_numpy(products)


def statistics_backward(
    gradient: ChannelSlice, x: ChannelSlice, constant: Tensor, slope: Tensor, out: ChannelSlice
) -> None:
    """See `dnlbench.dnl.memory_efficient.passes.statistics_backward`."""
    lines = _lines(constant, slope)
    for seed in range(x.shape[0]):
        _statistics_backward(*_of(gradient, seed), *_of(x, seed), lines[seed], *_of(out, seed))


def gather(products: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.memory_efficient.offsets`; ``products`` (R, 9 out), ``out`` (R, out)."""
    _gather(_array(products), height, width, _array(out))


def spread(d_out: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.memory_efficient.offsets`; ``d_out`` (R, out), ``out`` (R, 9 out)."""
    _spread(_array(d_out), height, width, _array(out))


def match_torch_threads() -> None:
    """Use as many threads as torch. Starting Numba sets the threads of OpenMP, which torch shares, to all cores; undo that."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _of(channel_slice: ChannelSlice, seed: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return the full array of one seed, and the first column of the slice.

    A view of the slice would hide from the compiler that channels are contiguous.
    """
    return _array(channel_slice.rows[seed]), channel_slice.columns.start


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the tensor as an array on the same memory; bfloat16 as its bits.

    Raises:
        ValueError: if the numbers of a row are not contiguous, as the loops assume.
    """
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        raise ValueError(f"rows must be contiguous, but their strides are {tensor.stride()}")
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()


def _lines(*coefficients: Tensor) -> np.ndarray[Any, Any]:
    """Stack coefficients to (S, number of coefficients, c)."""
    return torch.stack(coefficients, dim=1).detach().numpy()


def _exact(x: ChannelSlice) -> type[np.floating[Any]]:
    return np.float64 if x.rows.dtype == torch.float64 else np.float32


def _wide(number: Any) -> Any:
    """Return the float32 whose upper half is a uint16; other numbers unchanged."""


@overload(_wide, strict=False, jit_options={"fastmath": _FLAGS})
def _wide_of(number: Any) -> Any:
    if number == types.uint16:
        return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)
    return lambda number: number


def _narrow(number: Any, like: Any) -> Any:
    """Convert to the type of an array; for uint16 the upper half, rounded to nearest, ties to even. NaN stays NaN."""


@overload(_narrow, strict=False, jit_options={"fastmath": _FLAGS})
def _narrow_of(number: Any, like: Any) -> Any:
    if like.dtype != types.uint16:
        return lambda number, like: number

    def rounded(number: Any, like: Any) -> Any:
        bits = np.float32(number).view(np.uint32)
        upper = bits >> np.uint32(16)
        nearest = (bits + (upper & np.uint32(1)) + np.uint32(0x7FFF)) >> np.uint32(16)
        quiet = upper | np.uint32(0x40)  # rounding up could turn a NaN into an infinity
        return np.uint16(quiet if (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000) else nearest)

    return rounded


@_inlined
def _rows_of(part: int, rows: int) -> tuple[int, int]:
    return part * rows // PARTS, (part + 1) * rows // PARTS


@_inlined
def _count(part: int, rows: int) -> int:
    begin, end = _rows_of(part, rows)
    return end - begin


@njit(nogil=True)
def _put_together(means: Any, squares: Any, rows: int, mean: Any, variance: Any) -> None:
    for j in range(means.shape[1]):
        total, apart = 0.0, 0.0
        for part in range(PARTS):
            total += _count(part, rows) * np.float64(means[part, j])
        for part in range(PARTS):
            apart += squares[part, j] + _count(part, rows) * (means[part, j] - total / rows) ** 2
        mean[j], variance[j] = total / rows, apart / rows


@_compiled
def _store_with_statistics(
    x: Any, x_at: int, target: Any, target_at: int, means: Any, squares: Any, mean: Any, variance: Any
) -> None:
    channels = means.shape[1]
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        means[part] = 0
        squares[part] = 0
        for row in range(begin, end):
            for j in range(channels):
                target[row, target_at + j] = x[row, x_at + j]
                means[part, j] += _wide(x[row, x_at + j])
        for j in range(channels):
            means[part, j] /= max(end - begin, 1)
        for row in range(begin, end):
            for j in range(channels):
                rest = _wide(x[row, x_at + j]) - means[part, j]
                squares[part, j] += rest * rest
    _put_together(means, squares, len(x), mean, variance)


@_compiled
def _bn_relu(x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end):
            for j in range(line.shape[1]):
                z = _wide(x[row, x_at + j]) * line[0, j] + line[1, j]
                out[row, out_at + j] = _narrow(line.dtype.type(0) if z <= 0 else z, out)


@_compiled
def _bn_relu_backward(
    dy: Any,
    dy_at: int,
    x: Any,
    x_at: int,
    line: Any,
    gradient: Any,
    gradient_at: int,
    begin: bool,
    parts: Any,
    moments: Any,
    sums: Any,
    products: Any,
) -> None:
    for part in prange(PARTS):
        first, end = _rows_of(part, len(x))
        parts[part] = 0
        moments[part] = 0
        for row in range(first, end):
            for j in range(line.shape[1]):
                scale, value, dz = line[0, j], _wide(x[row, x_at + j]), _wide(dy[row, dy_at + j])
                dz = line.dtype.type(0) if value * scale + line[1, j] <= 0 else dz
                parts[part, j] += dz
                moments[part, j] += dz * (value - line[2, j])
                term = scale * dz
                if not begin:
                    term = gradient[row, gradient_at + j] + term
                gradient[row, gradient_at + j] = term
    for j in range(line.shape[1]):
        total, moment = 0.0, 0.0
        for part in range(PARTS):
            total += parts[part, j]
            moment += moments[part, j]
        sums[j], products[j] = total, moment


@_compiled
def _statistics_backward(gradient: Any, gradient_at: int, x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end):
            for j in range(line.shape[1]):
                given = gradient[row, gradient_at + j] - line[0, j]
                out[row, out_at + j] = _narrow(given - line[1, j] * _wide(x[row, x_at + j]), out)


@_compiled
def _gather(products: Any, height: int, width: int, out: Any) -> None:
    out_channels = out.shape[1]
    for line in prange(len(out) // width):  # of an image's pixels
        top, bottom = line % height == 0, line % height == height - 1
        for column in range(width):
            for j in range(out_channels):
                total = _wide(products.dtype.type(0))
                for vertical in range(1 if top else 0, 2 if bottom else 3):
                    source = (line + vertical - 1) * width + column + 1
                    for across in range(1 if column == width - 1 else 0, 2 if column == 0 else 3):
                        total += _wide(products[source - across, (3 * vertical + across) * out_channels + j])
                out[line * width + column, j] = _narrow(total, out)


@_compiled
def _spread(d_out: Any, height: int, width: int, out: Any) -> None:
    out_channels = d_out.shape[1]
    for line in prange(len(out) // width):
        for column in range(width):
            row = line * width + column
            for vertical in range(3):
                inside = 0 <= line % height + 1 - vertical < height
                for across in range(3):
                    source, at = row + (1 - vertical) * width + across - 1, (3 * vertical + across) * out_channels
                    within = inside and 0 <= column + across - 1 < width
                    for j in range(out_channels):
                        out[row, at + j] = d_out[source, j] if within else 0
