"""A split of a dataset in memory."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dnlbench import units
from dnlbench.errors import DataError
from dnlbench.events.records import Inputs, Targets
from dnlbench.machine import cpu_memory
from dnlbench.runners.training.data.normalization import Normalization
from dnlbench.studies.base import InputShape
from dnlbench.studies.training.spec import DataSettings

_CHOICE_SEED = 20251002


@dataclass(frozen=True, kw_only=True)
class Split:
    """Inputs and their targets."""

    inputs: Tensor
    """uint8 images (N, C, H, W), float32 values (N, …) or int64 tokens (N, T)."""
    targets: Tensor
    """int64 classes (N,), float32 values (N, outputs) or int64 tokens (N, T)."""
    normalization: Normalization | None = None
    """Applied to the inputs of each batch. It is not part of the hash."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    @property
    def kind_of_inputs(self) -> Inputs:
        if self.inputs.dtype == torch.uint8:
            return "images"
        return "values" if self.inputs.is_floating_point() else "tokens"

    @property
    def kind_of_targets(self) -> Targets:
        if self.targets.is_floating_point():
            return "values"
        return "classes" if self.targets.dim() == 1 else "tokens"

    @property
    def sha256(self) -> str:
        """The hash of shape, inputs and targets. The split must be on the CPU."""
        digest = hashlib.sha256(repr(tuple(self.inputs.shape)).encode())
        digest.update(self.inputs.numpy().data)
        digest.update(self.targets.numpy().data)
        return digest.hexdigest()

    def to(self, device: torch.device) -> Split:
        normalization = self.normalization and self.normalization.to(device)
        return Split(inputs=self.inputs.to(device), targets=self.targets.to(device), normalization=normalization)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets. ``indices`` are on the split's device.

        Images are in [0, 1], float32 in channels-last format. Other inputs are unchanged. Both are normalized if requested.
        """
        inputs = network_input(self.inputs[indices])
        return self.normalization(inputs) if self.normalization else inputs, self.targets[indices]


def network_input(inputs: Tensor) -> Tensor:
    """Return the inputs in the form in which networks read them."""
    if inputs.dtype == torch.uint8:
        inputs = inputs.to(torch.float32).div_(255)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The result of a dataset reader."""

    split: Split
    classes: int
    warnings: tuple[str, ...] = ()
    """Warnings about files that were read, one sentence each."""


def generator_for(purpose: str, seed: int, epoch: int) -> torch.Generator:
    """Create a generator of random numbers on the CPU that depends only on these values."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of samples in an epoch: a permutation that depends only on seed and epoch."""
    return torch.randperm(samples, generator=generator_for("order", seed, epoch))


def choose(samples: int, settings: DataSettings, *, training: bool) -> NDArray[np.int64]:
    """Return ascending indices of the samples to use: all, or a fixed random subset of ``data.limit`` training samples."""
    if not training or settings.limit is None or settings.limit >= samples:
        return np.arange(samples)
    chosen = torch.randperm(samples, generator=torch.Generator().manual_seed(_CHOICE_SEED))[: settings.limit]
    return np.sort(chosen.numpy())


def make_split(images: NDArray[Any], labels: Any, chosen: NDArray[np.int64] | None = None) -> Split:
    """Create a split from images (N, C, H, W) with values 0 to 255, or from the ``chosen`` ones."""
    labels = np.asarray(labels, dtype=np.int64)
    if chosen is not None and len(chosen) < len(images):
        images, labels = images[chosen], labels[chosen]
    return Split(inputs=torch.from_numpy(np.ascontiguousarray(images, np.uint8)), targets=torch.from_numpy(labels))


def empty_images(count: int, shape: InputShape, settings: DataSettings) -> NDArray[np.uint8]:
    """Allocate memory for images of shape (C, H, W).

    Raises:
        DataError: if there is not enough memory.
    """
    total, used = cpu_memory()
    need, free = count * math.prod(shape), total - (used or 0)
    available = f"{units.size(free)} of {units.size(total)} are free"
    try:
        if need > free:
            raise MemoryError(available)
        available = "the system refused the allocation"
        return np.empty((count, *shape), np.uint8)
    except MemoryError as error:
        more = ", data.limit or data.samples" if settings.dataset == "synthetic" else " or data.limit"
        raise DataError(
            f"data.dataset = {settings.dataset!r}: not enough memory for the data: {count} images of "
            f"{'×'.join(map(str, shape))} need {units.size(need)}; {available}. "
            f"Choose a smaller data.image_size{more}"
        ) from error
