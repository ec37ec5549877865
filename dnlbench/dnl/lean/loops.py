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
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, prange, types
from numba.extending import intrinsic, overload
from torch import Tensor

from dnlbench.dnl.lean.strip import Strip

PARTS = 64

_compiled = njit(parallel=True, cache=True, fastmath={"nsz", "contract", "reassoc"}, nogil=True)


_of_a_divergence = np.errstate(invalid="ignore", over="ignore")
"""Sums that are not finite are results like others."""


@_of_a_divergence
def publish(x: Strip, place: Strip) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.publish`. Two readings: squares of what is left of the mean keep their digits."""
    seeds, rows, channels = x.shape
    exact = _exact(x)
    first, second = (np.empty((PARTS, channels), exact) for _ in range(2))
    means, variances = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        _copy_and_add(*_of(x, seed), *_of(place, seed), first)
        means[seed] = first.sum(axis=0, dtype=np.float64) / rows
        _add_squares(*_of(x, seed), means[seed], second)
        variances[seed] = second.sum(axis=0, dtype=np.float64) / rows
    return torch.from_numpy(means), torch.from_numpy(variances)


def rectify(x: Strip, scale: Tensor, shift: Tensor, out: Strip) -> None:
    """See `dnlbench.dnl.lean.passes.rectify`."""
    for seed in range(x.shape[0]):
        _rectify(*_of(x, seed), _array(scale[seed]), _array(shift[seed]), *_of(out, seed))


@_of_a_divergence
def collect(dy: Strip, x: Strip, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Strip) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.collect`."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    parts, moments = (np.empty((PARTS, channels), exact) for _ in range(2))
    sums, products = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        coefficients = (_array(scale[seed]), _array(shift[seed]), _array(mean[seed]))
        _collect(*_of(dy, seed), *_of(x, seed), *coefficients, *_of(gradient, seed), parts, moments)
        sums[seed] = parts.sum(axis=0, dtype=np.float64)
        products[seed] = moments.sum(axis=0, dtype=np.float64)
    return torch.from_numpy(sums), torch.from_numpy(products)


def settle(gradient: Strip, x: Strip, constant: Tensor, slope: Tensor, out: Strip) -> None:
    """See `dnlbench.dnl.lean.passes.settle`."""
    for seed in range(x.shape[0]):
        coefficients = (_array(constant[seed]), _array(slope[seed]))
        _settle(*_of(gradient, seed), *_of(x, seed), *coefficients, *_of(out, seed))


def gather(products: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.convolution.Taps`; ``products`` (R, 9 made), ``out`` (R, made)."""
    exact = np.zeros(0, np.float64 if out.dtype == torch.float64 else np.float32)
    _gather(_array(products), height, width, _array(out), exact)


def spread(d_made: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.convolution.Taps`; ``d_made`` (R, made), ``out`` (R, 9 made)."""
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
    """Shares the tensor's memory; bfloat16 as its bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()


def _exact(x: Strip) -> type[np.floating[Any]]:
    return np.float64 if x.rows.dtype == torch.float64 else np.float32


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
        return lambda stored: _float_of(np.uint32(np.uint32(stored) << np.uint32(16)))  # type: ignore[call-arg]
    return lambda stored: stored


def _stored(value: Any, like: Any) -> Any:
    """A number as it stands in an array with elements like this one; to bfloat16 it is rounded to nearest, ties to even."""


@overload(_stored, inline="always", strict=False)
def _stored_compiled(value: Any, like: Any) -> Callable[[Any, Any], Any]:
    if like == types.uint16:

        def rounded(value: Any, like: Any) -> Any:
            bits: Any = _bits_of(value)  # type: ignore[call-arg]
            if value != value:  # rounding up could turn a NaN into an infinity
                return np.uint16((bits >> np.uint32(16)) | np.uint32(0x40))
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return rounded
    return lambda value, like: value


@_compiled
def _copy_and_add(x: Any, x_at: int, place: Any, place_at: int, sums: Any) -> None:
    rows, channels = len(x), sums.shape[1]
    for part in prange(PARTS):
        mine = sums[part]
        mine[:] = 0
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            source, target = x[row, x_at : x_at + channels], place[row, place_at : place_at + channels]
            for j in range(channels):
                target[j] = source[j]
                mine[j] += _load(source[j])


@_compiled
def _add_squares(x: Any, x_at: int, mean: Any, sums: Any) -> None:
    rows, channels = len(x), sums.shape[1]
    for part in prange(PARTS):
        mine = sums[part]
        mine[:] = 0
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            source = x[row, x_at : x_at + channels]
            for j in range(channels):
                rest = _load(source[j]) - mean[j]
                mine[j] += rest * rest


@_compiled
def _rectify(x: Any, x_at: int, scale: Any, shift: Any, out: Any, out_at: int) -> None:
    rows, channels = len(x), len(scale)
    zero = scale.dtype.type(0)
    for part in prange(PARTS):
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            source, target = x[row, x_at : x_at + channels], out[row, out_at : out_at + channels]
            for j in range(channels):
                z = _load(source[j]) * scale[j] + shift[j]
                target[j] = _stored(max(z, zero), target[j])  # a NaN stays one


@_compiled
def _collect(
    dy: Any,
    dy_at: int,
    x: Any,
    x_at: int,
    scale: Any,
    shift: Any,
    mean: Any,
    gradient: Any,
    gradient_at: int,
    sums: Any,
    products: Any,
) -> None:
    rows, channels = len(x), len(scale)
    zero = scale.dtype.type(0)
    for part in prange(PARTS):
        mine, moments = sums[part], products[part]
        for j in range(channels):
            mine[j] = zero
            moments[j] = zero
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            source, given = x[row, x_at : x_at + channels], dy[row, dy_at : dy_at + channels]
            target = gradient[row, gradient_at : gradient_at + channels]
            for j in range(channels):
                value = _load(source[j])
                dz = zero if value * scale[j] + shift[j] <= zero else _load(given[j])  # of a NaN, what comes back
                mine[j] += dz
                moments[j] += dz * (value - mean[j])
                target[j] += scale[j] * dz


@_compiled
def _settle(
    gradient: Any, gradient_at: int, x: Any, x_at: int, constant: Any, slope: Any, out: Any, out_at: int
) -> None:
    rows, channels = len(x), len(constant)
    for part in prange(PARTS):
        for row in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            source, given = x[row, x_at : x_at + channels], gradient[row, gradient_at : gradient_at + channels]
            target = out[row, out_at : out_at + channels]
            for j in range(channels):
                target[j] = _stored(given[j] - constant[j] - slope[j] * _load(source[j]), target[j])


@_compiled
def _gather(products: Any, height: int, width: int, out: Any, exact: Any) -> None:
    made = out.shape[1]
    for line in prange(len(out) // width):  # of an image's pixels
        sums = np.zeros((width + 2) * made, exact.dtype)
        for vertical in range(3):
            above = vertical - 1
            if 0 <= line % height + above < height:
                for column in range(width):
                    source = products[(line + above) * width + column, 3 * vertical * made : 3 * (vertical + 1) * made]
                    target = sums[column * made : (column + 3) * made]
                    for j in range(3 * made):
                        target[j] += _load(source[j])
        for column in range(width):
            found, place = sums[(column + 1) * made : (column + 2) * made], out[line * width + column, :]
            for j in range(made):
                place[j] = _stored(found[j], place[j])


@_compiled
def _spread(d_made: Any, height: int, width: int, out: Any) -> None:
    made = d_made.shape[1]
    for line in prange(len(out) // width):
        lines = np.zeros((3, (width + 2) * made), d_made.dtype)  # bfloat16's zero has no bits either
        for vertical in range(3):
            above = 1 - vertical
            if 0 <= line % height + above < height:
                for column in range(width):
                    source = d_made[(line + above) * width + column, :]
                    target = lines[vertical, (column + 1) * made : (column + 2) * made]
                    for j in range(made):
                        target[j] = source[j]
        for column in range(width):
            place = out[line * width + column, :]
            for vertical in range(3):
                found = lines[vertical, column * made : (column + 3) * made]
                target = place[3 * vertical * made : 3 * (vertical + 1) * made]
                for j in range(3 * made):
                    target[j] = found[j]
