"""A split of a dataset: inputs and their targets."""

from __future__ import annotations

import copy
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
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
_MOST_COLORS = 4
"""Channels of an image, by which arrays (N, H, W, C) are recognized."""

Batch = tuple[Tensor, Tensor]
"""Inputs and targets."""


class Split(ABC):
    """Inputs and their targets. Batches are in the form in which networks read them."""

    device: torch.device
    """Device of the batches."""
    inputs: Tensor
    """uint8 images (N, C, H, W), float32 values (N, …) or int64 tokens (N, T). A streamed split reads all of them."""
    targets: Tensor
    """int64 classes (N,), float32 values (N, outputs) or int64 tokens (N, T)."""
    normalization: Normalization | None = None
    """Applied to the inputs of each batch. It is not part of the hash."""
    input_shape: tuple[int, ...]
    """Shape of one input."""
    kind_of_inputs: Inputs
    sha256: str
    """The hash of shape, inputs and targets."""
    largest_token: int
    """The largest token of the inputs; −1 if they are not tokens."""
    streamed: bool
    """True if batches are read when they are needed, false if all data are on the device."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def kind_of_targets(self) -> Targets:
        if self.targets.is_floating_point():
            return "values"
        return "classes" if self.targets.dim() == 1 else "tokens"

    @property
    def outputs(self) -> int:
        """Number of outputs that a network needs for these targets: classes, values or tokens."""
        if self.kind_of_targets == "values":
            return self.targets.shape[1]
        return max(int(self.targets.max()), self.largest_token if self.kind_of_targets == "tokens" else -1) + 1

    def to(self, device: torch.device) -> Split:
        """Return the split with its batches on a device."""
        other = self._to(device)
        other.normalization = self.normalization and self.normalization.to(device)
        return other

    def normalized(self, normalization: Normalization) -> Split:
        """Return the split with normalized inputs."""
        other = copy.copy(self)
        other.normalization = normalization
        return other

    def batch(self, indices: Tensor) -> Batch:
        """Return inputs and targets. ``indices`` are on the split's device.

        Images are in [0, 1], float32. Inputs with four axes are in channels-last format. Other inputs are unchanged. All are
        normalized if requested.
        """
        inputs, targets = self._stored(indices)
        inputs = network_input(inputs)
        return self.normalization(inputs) if self.normalization else inputs, targets

    @abstractmethod
    def _to(self, device: torch.device) -> Split: ...

    @abstractmethod
    def _stored(self, indices: Tensor) -> Batch:
        """Return inputs and targets as they are stored."""

    def ahead(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the indices of batches in this order. A streamed split reads each batch before it yields its indices."""
        yield from batches


class MemorySplit(Split):
    """A split as one tensor of inputs and one of targets."""

    streamed = False

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs = inputs
        self.targets = targets

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.inputs.device

    @property
    def input_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(self.inputs.shape[1:])

    @property
    def kind_of_inputs(self) -> Inputs:  # type: ignore[override]
        return kind_of_inputs(self.inputs)

    @property
    def sha256(self) -> str:  # type: ignore[override]
        """The hash. The split must be on the CPU."""
        return hash_of(len(self), [(self.inputs, self.targets)])

    @property
    def largest_token(self) -> int:  # type: ignore[override]
        return largest_token(self.inputs)

    def _to(self, device: torch.device) -> MemorySplit:
        return MemorySplit(self.inputs.to(device), self.targets.to(device))

    def _stored(self, indices: Tensor) -> Batch:
        return self.inputs[indices], self.targets[indices]


def network_input(inputs: Tensor) -> Tensor:
    """Return the inputs in the form in which networks read them."""
    if inputs.dtype == torch.uint8:
        inputs = inputs.to(torch.float32).div_(255)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def kind_of_inputs(inputs: Tensor) -> Inputs:
    """Return the kind of inputs that tensors of this type have."""
    if inputs.dtype == torch.uint8:
        return "images"
    return "values" if inputs.is_floating_point() else "tokens"


def largest_token(inputs: Tensor) -> int:
    """Return the largest token; −1 if the inputs are not tokens."""
    return int(inputs.max()) if kind_of_inputs(inputs) == "tokens" else -1


def hash_of(samples: int, batches: Iterable[Batch]) -> str:
    """Return the hash of a split's shape, all inputs and all targets. It does not depend on the size of the batches."""
    digest, targets = hashlib.sha256(), []
    for number, (inputs, of_batch) in enumerate(batches):
        if number == 0:
            digest.update(repr((samples, *inputs.shape[1:])).encode())
        digest.update(inputs.numpy().data)
        targets.append(of_batch)
    for of_batch in targets:
        digest.update(of_batch.numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The result of a dataset reader."""

    split: Split
    classes: int | None = None
    """Number of outputs of a network. None: that of the declaration or of the split."""
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
    """Return ascending indices of the samples of a split, from those in the files that it is read from.

    These are all samples, or fixed random choices: ``data.evaluation_fraction`` of the training files for the evaluation
    split, and ``data.limit`` of the samples left for the training split.
    """
    held_out, limit = settings.held_out(samples), settings.limit or samples
    if held_out == 0 and (not training or limit >= samples):
        return np.arange(samples)
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(_CHOICE_SEED)).numpy()
    part = order[: samples - held_out][:limit] if training else order[samples - held_out :]
    return np.sort(part)


def from_arrays(inputs: Any, targets: Any, settings: DataSettings, *, training: bool) -> Loaded:
    """Create a split from the samples of its files as arrays or tensors; see `as_tensors`."""
    everything = MemorySplit(*as_tensors(inputs, targets, settings.dataset))
    chosen = torch.from_numpy(choose(len(everything), settings, training=training))
    outputs = everything.outputs if len(everything) else None
    if len(chosen) == len(everything):
        return Loaded(split=everything, classes=outputs)
    return Loaded(split=MemorySplit(everything.inputs[chosen], everything.targets[chosen]), classes=outputs)


def make_split(images: NDArray[Any], labels: Any, chosen: NDArray[np.int64] | None = None) -> MemorySplit:
    """Create a split from images (N, C, H, W) with values 0 to 255, or from the ``chosen`` ones."""
    labels = np.asarray(labels, dtype=np.int64)
    if chosen is not None and len(chosen) < len(images):
        images, labels = images[chosen], labels[chosen]
    return MemorySplit(torch.from_numpy(np.ascontiguousarray(images, np.uint8)), torch.from_numpy(labels))


def as_tensors(inputs: Any, targets: Any, name: str) -> Batch:
    """Convert inputs and targets to the types of a split.

    ======================================================  ==================================================
    inputs
    uint8 (N, H, W), (N, C, H, W) or (N, H, W, C), C ≤ 4    images (N, C, H, W)
    floats (N,), (N, …)                                     values (N, 1), (N, …), float32
    integers (N, T)                                         tokens, int64
    targets
    integers (N,) or (N, 1)                                 classes (N,), int64
    floats (N,) or (N, outputs)                             values (N, outputs), float32
    integers (N, T)                                         tokens, int64
    ======================================================  ==================================================

    Raises:
        DataError: for other types and shapes, different numbers, negative integers and values that are not finite.
    """
    x, y = _inputs(_tensor(inputs, "inputs", name), name), _targets(_tensor(targets, "targets", name), name)
    if len(x) != len(y):
        raise DataError(f"data.dataset = {name!r}: {len(x)} inputs, but {len(y)} targets")
    for part, values in (("inputs", x), ("targets", y)):
        if values.is_floating_point() and not values.isfinite().all():
            raise DataError(f"data.dataset = {name!r}: the {part} contain values that are not finite; replace them")
        if values.dtype == torch.int64 and len(values) and values.min() < 0:
            raise DataError(f"data.dataset = {name!r}: the {part} contain {int(values.min())}; number them from 0")
    return x, y


def _tensor(values: Any, part: str, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    try:
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))
    except (TypeError, ValueError) as error:
        raise DataError(f"data.dataset = {name!r}: the {part} are of type {array.dtype}; expected numbers") from error


def _inputs(x: Tensor, name: str) -> Tensor:
    if x.dtype == torch.uint8 and x.dim() == 3:
        return x[:, None].contiguous()
    if x.dtype == torch.uint8 and x.dim() == 4:
        channels_last = x.shape[3] <= _MOST_COLORS < x.shape[1]
        return (x.permute(0, 3, 1, 2) if channels_last else x).contiguous()
    if x.is_floating_point() and x.dim() > 0:
        return (x[:, None] if x.dim() == 1 else x).to(torch.float32).contiguous()
    if _is_integer(x) and x.dim() == 2:
        return x.to(torch.int64).contiguous()
    raise DataError(
        f"data.dataset = {name!r}: inputs of type {_type(x)} and shape {tuple(x.shape)} cannot be used. Expected images, "
        "uint8 of shape (N, H, W), (N, C, H, W) or (N, H, W, C); floats of any shape; or tokens, integers of shape (N, T)"
    )


def _targets(y: Tensor, name: str) -> Tensor:
    if y.is_floating_point() and y.dim() in (1, 2):
        return (y[:, None] if y.dim() == 1 else y).to(torch.float32).contiguous()
    if _is_integer(y) and (y.dim() == 1 or (y.dim() == 2 and y.shape[1] == 1)):
        return y.flatten().to(torch.int64).contiguous()
    if _is_integer(y) and y.dim() == 2:
        return y.to(torch.int64).contiguous()
    raise DataError(
        f"data.dataset = {name!r}: targets of type {_type(y)} and shape {tuple(y.shape)} cannot be used. Expected classes, "
        "integers of shape (N,); values, floats of shape (N,) or (N, outputs); or tokens, integers of shape (N, T)"
    )


def _is_integer(values: Tensor) -> bool:
    return not values.is_floating_point() and not values.is_complex()


def _type(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def empty_images(count: int, shape: InputShape, settings: DataSettings) -> NDArray[np.uint8]:
    """Allocate memory for images of shape (C, H, W).

    Raises:
        DataError: if there is not enough memory.
    """
    need, (free, total) = count * math.prod(shape), free_memory()
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


def free_memory() -> tuple[int, int]:
    """Return free and total bytes of main memory."""
    total, used = cpu_memory()
    return total - (used or 0), total
