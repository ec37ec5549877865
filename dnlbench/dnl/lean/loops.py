"""The passes of `dnlbench.dnl.lean.passes` on CPUs, as loops that Numba compiles, once a machine.

Rows are dealt to the threads in ``PARTS`` parts, each with sums of its own that are added up in their order at the end, so that
results do not depend on the number of threads. Rows of bfloat16 come as their bits; sums are made in float32.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from dnlbench.dnl.lean.rows import Strip
from dnlbench.dnl.lean.vectors import LANES, first, load, store, where_positive, zeros

PARTS = 64
BLOCK = 64
"""Rows that are gone through at a time, one vector of channels after the other, so that a cache holds all of them."""

_compiled = njit(parallel=True, cache=True, nogil=True)
_inlined = njit(nogil=True)


def publish(x: Strip, place: Strip) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.publish`. Squares are of what is left of a part's mean, and keep their digits."""
    seeds, _, channels = x.shape
    exact = _exact(x)
    of_part, squares = (np.empty((PARTS, channels), exact) for _ in range(2))
    means, variances = (np.empty((seeds, channels), exact) for _ in range(2))
    for seed in range(seeds):
        _publish(*_of(x, seed), *_of(place, seed), of_part, squares, means[seed], variances[seed])
    return torch.from_numpy(means), torch.from_numpy(variances)


def rectify(x: Strip, scale: Tensor, shift: Tensor, out: Strip) -> None:
    """See `dnlbench.dnl.lean.passes.rectify`."""
    lines = _lines(scale, shift)
    for seed in range(x.shape[0]):
        _rectify(*_of(x, seed), lines[seed], *_of(out, seed))


def collect(
    dy: Strip, x: Strip, scale: Tensor, shift: Tensor, mean: Tensor, gradient: Strip, *, begin: bool
) -> tuple[Tensor, Tensor]:
    """See `dnlbench.dnl.lean.passes.collect`."""
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
    """See `dnlbench.dnl.lean.passes.settle`."""
    lines = _lines(constant, slope)
    for seed in range(x.shape[0]):
        _settle(*_of(gradient, seed), *_of(x, seed), lines[seed], *_of(out, seed))


def gather(products: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.taps`; ``products`` (R, 9 made), ``out`` (R, made), ``made`` at most `LANES`."""
    _gather(_array(products), height, width, _array(out))


def spread(d_made: Tensor, height: int, width: int, out: Tensor) -> None:
    """See `dnlbench.dnl.lean.taps`; ``d_made`` (R, made), ``out`` (R, 9 made), ``made`` at most `LANES`."""
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


@_inlined
def _rows_of(part: int, rows: int) -> tuple[int, int]:
    return part * rows // PARTS, (part + 1) * rows // PARTS


@_inlined
def _count(part: int, rows: int) -> int:
    begin, end = _rows_of(part, rows)
    return end - begin


@_inlined
def _rest_and_whole(channels: int) -> tuple[int, int]:
    """Channels that fill no vector, and those before them that do."""
    return channels % LANES, channels - channels % LANES


@_inlined
def _publish_part(
    x: Any, x_at: int, place: Any, place_at: int, means: Any, squares: Any, part: int, rows: Any, at: int, mask: Any
) -> None:
    total = zeros(x)
    for row in range(rows[0], rows[1]):
        value = load(x, row, x_at + at, mask)
        store(value, place, row, place_at + at, mask)
        total = total + value
    store(total, means, part, at, mask)
    for j in range(at, min(at + LANES, means.shape[1])):
        means[part, j] /= max(rows[1] - rows[0], 1)
    mean, total = load(means, part, at, mask), zeros(x)
    for row in range(rows[0], rows[1]):
        rest = load(x, row, x_at + at, mask) - mean
        total = total + rest * rest
    store(total, squares, part, at, mask)


@_compiled
def _publish(x: Any, x_at: int, place: Any, place_at: int, means: Any, squares: Any, mean: Any, variance: Any) -> None:
    rest, whole = _rest_and_whole(means.shape[1])
    for part in prange(PARTS):
        rows = _rows_of(part, len(x))
        for at in range(0, whole, LANES):
            _publish_part(x, x_at, place, place_at, means, squares, part, rows, at, None)
        if rest > 0:
            _publish_part(x, x_at, place, place_at, means, squares, part, rows, whole, first(rest))
    for j in range(means.shape[1]):
        total, apart = 0.0, 0.0
        for part in range(PARTS):
            total += _count(part, len(x)) * np.float64(means[part, j])
        for part in range(PARTS):
            apart += squares[part, j] + _count(part, len(x)) * (means[part, j] - total / len(x)) ** 2
        mean[j], variance[j] = total / len(x), apart / len(x)


@_inlined
def _rectify_block(x: Any, x_at: int, line: Any, out: Any, out_at: int, rows: Any, at: int, mask: Any) -> None:
    scale, shift = load(line, 0, at, mask), load(line, 1, at, mask)
    for row in range(rows[0], rows[1]):
        z = load(x, row, x_at + at, mask) * scale + shift
        store(where_positive(z, z), out, row, out_at + at, mask)


@_compiled
def _rectify(x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    rest, whole = _rest_and_whole(line.shape[1])
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end, BLOCK):
            rows = (row, min(row + BLOCK, end))
            for at in range(0, whole, LANES):
                _rectify_block(x, x_at, line, out, out_at, rows, at, None)
            if rest > 0:
                _rectify_block(x, x_at, line, out, out_at, rows, whole, first(rest))


@_inlined
def _collect_block(
    dy: Any,
    dy_at: int,
    x: Any,
    x_at: int,
    line: Any,
    gradient: Any,
    gradient_at: int,
    begin: bool,
    sums: Any,
    products: Any,
    part: int,
    rows: Any,
    at: int,
    mask: Any,
) -> None:
    scale, shift, mean = load(line, 0, at, mask), load(line, 1, at, mask), load(line, 2, at, mask)
    total, moment = load(sums, part, at, mask), load(products, part, at, mask)
    for row in range(rows[0], rows[1]):
        value = load(x, row, x_at + at, mask)
        dz = where_positive(value * scale + shift, load(dy, row, dy_at + at, mask))
        total = total + dz
        moment = moment + dz * (value - mean)
        share = scale * dz
        if not begin:
            share = load(gradient, row, gradient_at + at, mask) + share
        store(share, gradient, row, gradient_at + at, mask)
    store(total, sums, part, at, mask)
    store(moment, products, part, at, mask)


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
    rest, whole = _rest_and_whole(line.shape[1])
    for part in prange(PARTS):
        start, end = _rows_of(part, len(x))
        parts[part] = 0
        moments[part] = 0
        for row in range(start, end, BLOCK):
            rows = (row, min(row + BLOCK, end))
            places = (dy, dy_at, x, x_at, line, gradient, gradient_at, begin, parts, moments, part, rows)
            for at in range(0, whole, LANES):
                _collect_block(*places, at, None)
            if rest > 0:
                _collect_block(*places, whole, first(rest))
    for j in range(line.shape[1]):
        total, moment = 0.0, 0.0
        for part in range(PARTS):
            total += parts[part, j]
            moment += moments[part, j]
        sums[j], products[j] = total, moment


@_inlined
def _settle_block(
    gradient: Any, gradient_at: int, x: Any, x_at: int, line: Any, out: Any, out_at: int, rows: Any, at: int, mask: Any
) -> None:
    constant, slope = load(line, 0, at, mask), load(line, 1, at, mask)
    for row in range(rows[0], rows[1]):
        given = load(gradient, row, gradient_at + at, mask) - constant
        store(given - slope * load(x, row, x_at + at, mask), out, row, out_at + at, mask)


@_compiled
def _settle(gradient: Any, gradient_at: int, x: Any, x_at: int, line: Any, out: Any, out_at: int) -> None:
    rest, whole = _rest_and_whole(line.shape[1])
    for part in prange(PARTS):
        begin, end = _rows_of(part, len(x))
        for row in range(begin, end, BLOCK):
            rows = (row, min(row + BLOCK, end))
            for at in range(0, whole, LANES):
                _settle_block(gradient, gradient_at, x, x_at, line, out, out_at, rows, at, None)
            if rest > 0:
                _settle_block(gradient, gradient_at, x, x_at, line, out, out_at, rows, whole, first(rest))


@_compiled
def _gather(products: Any, height: int, width: int, out: Any) -> None:
    made = out.shape[1]
    for line in prange(len(out) // width):  # of an image's pixels
        mask, top, bottom = first(made), line % height == 0, line % height == height - 1
        for column in range(width):
            total = zeros(products)
            for vertical in range(1 if top else 0, 2 if bottom else 3):
                source = (line + vertical - 1) * width + column + 1
                for across in range(1 if column == width - 1 else 0, 2 if column == 0 else 3):
                    total = total + load(products, source - across, (3 * vertical + across) * made, mask)
            store(total, out, line * width + column, 0, mask)


@_compiled
def _spread(d_made: Any, height: int, width: int, out: Any) -> None:
    made = d_made.shape[1]
    for line in prange(len(out) // width):
        mask = first(made)
        for column in range(width):
            row = line * width + column
            for vertical in range(3):
                inside = 0 <= line % height + 1 - vertical < height
                for across in range(3):
                    found = zeros(d_made)
                    if inside and 0 <= column + across - 1 < width:
                        found = load(d_made, row + (1 - vertical) * width + across - 1, 0, mask)
                    store(found, out, row, (3 * vertical + across) * made, mask)
