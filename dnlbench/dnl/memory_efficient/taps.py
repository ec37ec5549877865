r"""A 3×3 convolution to few channels as a product of matrices and a sum of shifts, on CPUs.

Processors multiply vectors of 16 numbers, and a layer makes only a growth rate of channels, so a direct convolution leaves most
of each vector empty. Instead each position is multiplied with the filters of all nine taps at once, which are 9 times as many
channels, and then each position of the result gathers its nine products from its neighbours (after the "kn2row" convolution of
Vasudevan, Anderson & Gregg 2017, arXiv 1704.04428). On the way back the gradient is spread to the nine taps first, and both
gradients are products of matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.memory_efficient.passes import loops_for
from dnlbench.dnl.memory_efficient.rows import Grid


def are_better(rows: Tensor, filters: Tensor) -> bool:
    """Whether this way was found to be faster: where the nine products are not many more than the channels they are made of."""
    made, channels, side = filters.shape[1], filters.shape[2], filters.shape[-1]
    most = 2 * channels if rows.dtype == torch.bfloat16 else channels
    return side == 3 and made < 16 and 9 * made <= most and loops_for(rows) is not None


def convolve(rows: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """(R, c) and (made, c, 3, 3) to (R, made)."""
    loops = loops_for(rows)
    assert loops is not None, "asked before"
    products = functional.conv2d(_images(rows, grid), _all_taps(filters))
    out = rows.new_empty(len(rows), len(filters))
    loops.gather(_rows(products), grid.height, grid.width, out)
    return out


def convolve_back(d_made: Tensor, rows: Tensor, filters: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The gradients by ``rows`` and ``filters`` from that by what `convolve` made of them."""
    loops = loops_for(rows)
    assert loops is not None, "asked before"
    made, channels = filters.shape[:2]
    spread = rows.new_empty(len(rows), 9 * made)
    loops.spread(d_made.contiguous(), grid.height, grid.width, spread)
    d_images, d_taps = back(_images(spread, grid), _images(rows, grid), _all_taps(filters), padding=0)
    return _rows(d_images), d_taps.view(3, 3, made, channels).permute(2, 3, 0, 1).flip(3)


def back(d_made: Tensor, images: Tensor, filters: Tensor, padding: int, groups: int = 1) -> tuple[Tensor, Tensor]:
    """The gradients of a convolution by its images and its filters."""
    geometry = ([1, 1], [padding, padding], [1, 1], False, [0, 0], groups)
    d_images, d_filters, _ = torch.ops.aten.convolution_backward(
        d_made, images, filters, None, *geometry, [True, True, False]
    )
    return d_images, d_filters


def _all_taps(filters: Tensor) -> Tensor:
    """(made, c, 3, 3) to (9 made, c, 1, 1): by rows of the filter, and within a row by where a position's product goes."""
    return filters.flip(3).permute(2, 3, 0, 1).reshape(-1, filters.shape[1], 1, 1)


def _images(rows: Tensor, grid: Grid) -> Tensor:
    return grid.images(rows.unsqueeze(0)).squeeze(0)


def _rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).flatten(0, 2)
