"""The passes of `dnlbench.dnl.memory_efficient.passes` on CPUs, as loops that Numba compiles, once a machine.

Rows are dealt to the threads in ``PARTS`` parts, each with sums of its own that are added up in their order at the end, so that
results do not depend on the number of threads. Rows of bfloat16, which Numba does not know, come as their bits, uint16; sums
are made in float32.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange, types
from numba.extending import overload
from torch import Tensor

from dnlbench.dnl.memory_efficient.rows import Strip

PARTS = 64

_FLAGS = {"nsz", "contract"}
_compiled = njit(parallel=True, cache=True, nogil=True, fastmath=_FLAGS)
_inlined = njit(nogil=True, fastmath=_FLAGS)


def publish(x: Strip, place: Strip) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.memory_efficient.passes.publish`. Squares of centered values keep their digits."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    of_part, squares = (np.empty((PARTS, channels), exact) for _ in range(2))
    means, variances = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        _publish(*_of(x, seed), *_of(place, seed), of_part, squares, means[seed], variances[seed])
    return torch.from_numpy(means), torch.from_numpy(variances)


def rectify(x: Strip, scale: Tensor, shift: Tensor, out: Strip) -> None:
    """See `dnlbench.dnl.memory_efficient.passes.rectify`."""
    lines = _lines(scale, shift)
    for seed in range(x.shape[0]):
        _rectify(*_of(x, seed), lines[seed], *_of(out, seed))


def collect(
    dy: Strip, x: Strip, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Strip, *, begin: bool
) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.memory_efficient.passes.collect`."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    parts, moments = (np.empty((PARTS, channels), exact) for _ in range(2))
    sums, products = (np.empty((seeds, channels), exact) for _ in range(2))
    lines = _lines(scale, shift, mean)
    for seed in range(seeds):
        places = (*_of(dy, seed), *_of(x, seed), lines[seed], *_of(gradient, seed))
        _collect(*places, begin, parts, moments, sums[seed], products[seed])
    return torch.from_numpy(sums), torch.from_numpy(products)


def settle(gradient: Strip, x: Strip, constant: Tensor, slope: Tensor, out: Strip) -> None:
    """See `dnlbench.dnl.memory_efficient.passes.settle`."""
    lines = _lines(constant, slope)
    for seed in range(x.shape[0]):
        _settle(*_of(gradient, seed), *_of(x, seed), lines[seed], *_of(out, seed))


def gather(products: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.memory_efficient.taps`; ``products`` (R, 9 made), ``out`` (R, made)."""
    _gather(_array(products), height, width, _array(out))


def spread(d_made: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.memory_efficient.taps`; ``d_made`` (R, made), ``out`` (R, 9 made)."""
    _spread(_array(d_made), height, width, _array(out))


def share_threads() -> None:
    """As many threads as torch has. Numba's first start sets those of OpenMP, which are torch's too, to all that there are."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _of(strip: Strip, seed: int) -> tuple[np.ndarray[Any, Any], int]:
    """The whole array of one seed, and where the strip begins in its rows.

    The strip's own view would not tell the compiler that channels lie side by side, and it would make no use of it.
    """
    return _array(strip.rows[seed]), strip.columns.start


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Shares the tensor's memory; bfloat16 as its bits.

    Raises:
        ValueError: if numbers of a row do not lie side by side, as the loops take for granted.
    """
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        raise ValueError(f"rows with numbers side by side are asked for, not strides {tensor.stride()}")
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()


def _lines(*coefficients: Tensor) -> np.ndarray[Any, Any]:
    """Coefficients of a channel one below the other, (S, how many, c)."""
    return torch.stack(coefficients, dim=1).detach().numpy()


def _exact(x: Strip) -> type[np.floating[Any]]:
    return np.float64 if x.rows.dtype == torch.float64 else np.float32


def _wide(number: Any) -> Any:
    """The float32 of which a uint16 is the upper half; other numbers as they are."""


@overload(_wide, strict=False, jit_options={"fastmath": _FLAGS})
def _wide_of(number: Any) -> Any:
    if number == types.uint16:
        return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)
    return lambda number: number


def _narrow(number: Any, like: Any) -> Any:
    """What stands for a number in an array: of uint16 the upper half, rounded to nearest, ties to even; a NaN stays one."""


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
def _publish(x: Any, x_at: int, place: Any, place_at: int, means: Any, squares: Any, mean: Any, variance: Any) -> None:
    channels = means.shape[1]
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        means[part] = 0
        squares[part] = 0
        for row in range(begin, end):
            for j in range(channels):
                place[row, place_at + j] = x[row, x_at + j]
                means[part, j] += _wide(x[row, x_at + j])
        for j in range(channels):
            means[part, j] /= max(end - begin, 1)
        for row in range(begin, end):
            for j in range(channels):
                rest = _wide(x[row, x_at + j]) - means[part, j]
                squares[part, j] += rest * rest
    _put_together(means, squares, len(x), mean, variance)


@_compiled
def _rectify(x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end):
            for j in range(line.shape[1]):
                z = _wide(x[row, x_at + j]) * line[0, j] + line[1, j]
                out[row, out_at + j] = _narrow(line.dtype.type(0) if z <= 0 else z, out)


@_compiled
def _collect(
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
                share = scale * dz
                if not begin:
                    share = gradient[row, gradient_at + j] + share
                gradient[row, gradient_at + j] = share
    for j in range(line.shape[1]):
        total, moment = 0.0, 0.0
        for part in range(PARTS):
            total += parts[part, j]
            moment += moments[part, j]
        sums[j], products[j] = total, moment


@_compiled
def _settle(gradient: Any, gradient_at: int, x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end):
            for j in range(line.shape[1]):
                given = gradient[row, gradient_at + j] - line[0, j]
                out[row, out_at + j] = _narrow(given - line[1, j] * _wide(x[row, x_at + j]), out)


@_compiled
def _gather(products: Any, height: int, width: int, out: Any) -> None:
    made = out.shape[1]
    for line in prange(len(out) // width):  # of an image's pixels
        top, bottom = line % height == 0, line % height == height - 1
        for column in range(width):
            for j in range(made):
                total = _wide(products.dtype.type(0))
                for vertical in range(1 if top else 0, 2 if bottom else 3):
                    source = (line + vertical - 1) * width + column + 1
                    for across in range(1 if column == width - 1 else 0, 2 if column == 0 else 3):
                        total += _wide(products[source - across, (3 * vertical + across) * made + j])
                out[line * width + column, j] = _narrow(total, out)


@_compiled
def _spread(d_made: Any, height: int, width: int, out: Any) -> None:
    made = d_made.shape[1]
    for line in prange(len(out) // width):
        for column in range(width):
            row = line * width + column
            for vertical in range(3):
                inside = 0 <= line % height + 1 - vertical < height
                for across in range(3):
                    source, at = row + (1 - vertical) * width + across - 1, (3 * vertical + across) * made
                    within = inside and 0 <= column + across - 1 < width
                    for j in range(made):
                        out[row, at + j] = d_made[source, j] if within else 0
