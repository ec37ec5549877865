"""Random crops and flips of training images, for a whole batch at once on its device.

The random numbers of an epoch are drawn at its start, from a generator that depends only on the seed and the epoch. Resumed
runs, batched seeds and CUDA graphs therefore see the same images, and the networks' random state is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.runners.training.data.split import generator_for
from dnlbench.studies.training.spec import DataSettings


def crop_and_flip(images: Tensor, draws: Tensor, padding: int) -> Tensor:
    """Cut an image of the original size out of each zero-padded image, and mirror it left to right if its flip is 1.

    Args:
        images: shape (N, C, H, W).
        draws: upper edge and left edge of the part, from 0 to ``2 padding``, and flip; shape (N, 3).
        padding: pixels on each side; the part with both edges at ``padding`` is the image itself.

    Returns:
        Shape (N, C, H, W), in channels-last format.
    """
    n, _, height, width = images.shape
    upper, left, flips = draws.unsqueeze(-1).unbind(1)  # (N, 1) each
    rows = torch.arange(height, device=images.device) + upper  # (N, H)
    columns = torch.arange(width, device=images.device).expand(n, -1)
    columns = torch.where(flips == 1, columns.flip(1), columns) + left  # (N, W)
    number = torch.arange(n, device=images.device)[:, None, None]
    padded = functional.pad(images, [padding] * 4)
    parts = padded[number, :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return parts.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


class Augmentation:
    """The random changes of the training images of runs that train together. It starts at epoch 1."""

    def __init__(
        self, data: DataSettings, seeds: Sequence[int], samples: int, batch_size: int, device: torch.device
    ) -> None:
        self._seeds = seeds
        self._padding = data.crop_padding if "crop" in data.augment else 0
        self._flips = "flip" in data.augment
        steps = math.ceil(samples / batch_size)
        self._draws = torch.zeros(steps, len(seeds), batch_size, 3, dtype=torch.int64, device=device)
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Draw the numbers of an epoch, into the same memory: a CUDA graph reads them there."""
        steps, _, batch_size, _ = self._draws.shape
        numbers = torch.stack([self._draw(seed, epoch, steps * batch_size) for seed in self._seeds])
        self._draws.copy_(numbers.view(-1, steps, batch_size, 3).transpose(0, 1))

    def _draw(self, seed: int, epoch: int, samples: int) -> Tensor:
        """Return the draws of `crop_and_flip`, shape (samples, 3). The edges do not depend on whether images are flipped."""
        generator = generator_for("augment", seed, epoch)
        edges = torch.randint(2 * self._padding + 1, (samples, 2), generator=generator)
        flips = torch.randint(2, (samples, 1), generator=generator)
        return torch.cat([edges, flips if self._flips else torch.zeros_like(flips)], dim=1)

    def __call__(self, images: Tensor, step: Tensor) -> Tensor:
        """Change the images (S·B, C, H, W) of a training step. ``step`` is its number within the epoch, shape (1,)."""
        batch_size = len(images) // len(self._seeds)
        draws = self._draws.index_select(0, step)[0, :, :batch_size]  # the last batch may be smaller
        return crop_and_flip(images, draws.flatten(0, 1), self._padding)
