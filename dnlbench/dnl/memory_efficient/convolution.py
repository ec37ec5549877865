"""Convolutions of several seeds on rows of channels.

On CPUs the seeds run one after the other, with the same calls as a single run, so the results are bit-equal. On other devices
launching a small operation takes longer than computing it, so all seeds run as groups of one convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.memory_efficient import offsets
from dnlbench.dnl.memory_efficient.offsets import back
from dnlbench.dnl.memory_efficient.rows import Grid


def groups_seeds(device: torch.device) -> bool:
    """Return True if all seeds are convolved at once."""
    return device.type != "cpu"


def empty_rows(like: Tensor, channels: int) -> Tensor:
    """Allocate (S, R, channels) in the layout that `convolve` needs: channels of all seeds contiguous for grouped seeds."""
    seeds, rows, _ = like.shape
    if groups_seeds(like.device):
        return like.new_empty(rows, seeds, channels).transpose(0, 1)
    return like.new_empty(seeds, rows, channels)


def convolve(rows: Tensor, filters: Tensor, grid: Grid) -> Tensor:
    """Convolve rows (S, R, c) with filters (S, out, c, k, k), ``k`` odd, to (S, R, out); the image size stays the same."""
    padding, seeds = filters.shape[-1] // 2, len(rows)
    if groups_seeds(rows.device):
        images = _group_seeds(rows, grid)
        return _split_seeds(
            functional.conv2d(images, filters.flatten(0, 1), padding=padding, groups=seeds), seeds, grid
        )
    if offsets.are_better(rows, filters):
        return _stack([offsets.convolve(one, of_one, grid) for one, of_one in zip(rows, filters, strict=True)])
    each = zip(grid.images(rows), filters, strict=True)
    return grid.rows_of(_stack([functional.conv2d(one, of_one, padding=padding) for one, of_one in each]))


def convolve_back(d_out: Tensor, rows: Tensor, filters: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the gradients of `convolve` with respect to ``rows`` and ``filters``, in their shapes."""
    padding, seeds = filters.shape[-1] // 2, len(rows)
    if groups_seeds(rows.device):
        d_images, d_filters = back(
            _group_seeds(d_out, grid), _group_seeds(rows, grid), filters.flatten(0, 1), padding, groups=seeds
        )
        return _split_seeds(d_images, seeds, grid), d_filters.view(filters.shape)
    if offsets.are_better(rows, filters):
        gradients = [offsets.convolve_back(*each, grid) for each in zip(d_out, rows, filters, strict=True)]
        return _stack([d_rows for d_rows, _ in gradients]), _stack([d_filters for _, d_filters in gradients])
    each_image = zip(grid.images(d_out), grid.images(rows), filters, strict=True)
    gradients = [back(*each, padding) for each in each_image]
    return grid.rows_of(_stack([d_images for d_images, _ in gradients])), _stack(
        [d_filters for _, d_filters in gradients]
    )


def _stack(each: Sequence[Tensor]) -> Tensor:
    # stacking would copy a single tensor
    return each[0].unsqueeze(0) if len(each) == 1 else torch.stack(tuple(each))


def _group_seeds(rows: Tensor, grid: Grid) -> Tensor:
    """(S, R, c) to images (B, S · c, H, W) in channels-last format."""
    seeds, _, channels = rows.shape
    together = rows.transpose(0, 1).reshape(grid.batch, grid.height, grid.width, seeds * channels)
    return together.permute(0, 3, 1, 2)


def _split_seeds(images: Tensor, seeds: int, grid: Grid) -> Tensor:
    """(B, S · c, H, W) to (S, R, c)."""
    return images.permute(0, 2, 3, 1).reshape(grid.rows, seeds, -1).transpose(0, 1)
