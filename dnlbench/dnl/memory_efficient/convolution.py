"""Convolutions of several seeds side by side, on rows of channels.

On CPUs one seed after the other, in the very calls of a single run, so that its bits come out the same. Elsewhere, where
starting an operation takes longer than a small one itself, all at once as groups of one convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.memory_efficient import taps
from dnlbench.dnl.memory_efficient.rows import Grid
from dnlbench.dnl.memory_efficient.taps import back


def goes_together(device: torch.device) -> bool:
    """Whether all seeds are convolved at once."""
    return device.type != "cpu"


def empty_rows(like: Tensor, channels: int) -> Tensor:
    """Room for (S, R, channels), as `convolve` likes them to lie in memory: side by side where seeds go together."""
    seeds, rows, _ = like.shape
    if goes_together(like.device):
        return like.new_empty(rows, seeds, channels).transpose(0, 1)
    return like.new_empty(seeds, rows, channels)


def convolve(rows: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """Convolution that keeps the images' size: rows (S, R, c) and filters (S, made, c, k, k), ``k`` odd, to (S, R, made)."""
    padding, seeds = filters.shape[-1] // 2, len(rows)
    if goes_together(rows.device):
        images = _side_by_side(rows, grid)
        return _apart(functional.conv2d(images, filters.flatten(0, 1), padding=padding, groups=seeds), seeds, grid)
    if taps.are_better(rows, filters):
        return _stack([taps.convolve(one, of_one, grid) for one, of_one in zip(rows, filters, strict=True)])
    each = zip(grid.images(rows), filters, strict=True)
    return grid.rows_of(_stack([functional.conv2d(one, of_one, padding=padding) for one, of_one in each]))


def convolve_back(d_made: Tensor, rows: Tensor, filters: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The gradients by ``rows`` and ``filters`` from that by what `convolve` made of them, in their shapes."""
    padding, seeds = filters.shape[-1] // 2, len(rows)
    if goes_together(rows.device):
        d_images, d_filters = back(
            _side_by_side(d_made, grid), _side_by_side(rows, grid), filters.flatten(0, 1), padding, groups=seeds
        )
        return _apart(d_images, seeds, grid), d_filters.view(filters.shape)
    if taps.are_better(rows, filters):
        found = [taps.convolve_back(*each, grid) for each in zip(d_made, rows, filters, strict=True)]
        return _stack([d_rows for d_rows, _ in found]), _stack([d_filters for _, d_filters in found])
    each_image = zip(grid.images(d_made), grid.images(rows), filters, strict=True)
    found = [back(*each, padding) for each in each_image]
    return grid.rows_of(_stack([d_images for d_images, _ in found])), _stack([d_filters for _, d_filters in found])


def _stack(each: Sequence[Tensor]) -> Tensor:
    """Stacking would copy a single one."""
    return each[0].unsqueeze(0) if len(each) == 1 else torch.stack(tuple(each))


def _side_by_side(rows: Tensor, grid: Grid) -> Tensor:
    """(S, R, c) to images (B, S · c, H, W) in channels-last format."""
    seeds, _, channels = rows.shape
    together = rows.transpose(0, 1).reshape(grid.batch, grid.height, grid.width, seeds * channels)
    return together.permute(0, 3, 1, 2)


def _apart(images: Tensor, seeds: int, grid: Grid) -> Tensor:
    """(B, S · c, H, W) to (S, R, c)."""
    return images.permute(0, 2, 3, 1).reshape(grid.rows, seeds, -1).transpose(0, 1)
