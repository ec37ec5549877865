r"""A 3×3 convolution to few channels as a matrix product and a sum of shifts, on CPUs.

Processors multiply vectors of 16 numbers, and a layer has only a growth rate of output channels, so a direct convolution leaves
most of each vector empty. Instead each position is multiplied with the filter weights of all nine offsets at once, which gives
9 times as many channels. Each output position then sums its nine products from its neighbors (after the "kn2row" convolution
of Vasudevan, Anderson & Gregg 2017, arXiv 1704.04428). The backward pass copies the gradient to the nine offsets first; both
gradients are then matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.memory_efficient.passes import loops_for
from dnlbench.dnl.memory_efficient.rows import Grid


def are_better(rows: Tensor, filters: Tensor) -> bool:
    """Return True if this method was measured to be faster: the nine products have few more channels than the input."""
    out_channels, channels, size = filters.shape[1], filters.shape[2], filters.shape[-1]
    most = 2 * channels if rows.dtype == torch.bfloat16 else channels
    return size == 3 and out_channels < 16 and 9 * out_channels <= most and loops_for(rows) is not None


def convolve(rows: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """Convolve rows (R, c) with filters (out, c, 3, 3) to (R, out)."""
    loops = loops_for(rows)
    assert loops is not None, "asked before"
    products = functional.conv2d(_images(rows, grid), _offset_filters(filters))
    out = rows.new_empty(len(rows), len(filters))
    loops.gather(_rows(products), grid.height, grid.width, out)
    return out


def convolve_back(d_out: Tensor, rows: Tensor, filters: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the gradients of `convolve` with respect to ``rows`` and ``filters``."""
    loops = loops_for(rows)
    assert loops is not None, "asked before"
    out_channels, channels = filters.shape[:2]
    spread = rows.new_empty(len(rows), 9 * out_channels)
    loops.spread(d_out.contiguous(), grid.height, grid.width, spread)
    d_images, d_offset_filters = back(_images(spread, grid), _images(rows, grid), _offset_filters(filters), padding=0)
    return _rows(d_images), d_offset_filters.view(3, 3, out_channels, channels).permute(2, 3, 0, 1).flip(3)


def back(d_out: Tensor, images: Tensor, filters: Tensor, padding: int, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Return the gradients of a convolution with respect to its images and its filters."""
    geometry = ([1, 1], [padding, padding], [1, 1], False, [0, 0], groups)
    d_images, d_filters, _ = torch.ops.aten.convolution_backward(
        d_out, images, filters, None, *geometry, [True, True, False]
    )
    return d_images, d_filters


def _offset_filters(filters: Tensor) -> Tensor:
    """Return (out, c, 3, 3) as (9 out, c, 1, 1), ordered by filter row, then by the column that a product is added to."""
    return filters.flip(3).permute(2, 3, 0, 1).reshape(-1, filters.shape[1], 1, 1)


def _images(rows: Tensor, grid: Grid) -> Tensor:
    return grid.images(rows.unsqueeze(0)).squeeze(0)


def _rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).flatten(0, 2)
