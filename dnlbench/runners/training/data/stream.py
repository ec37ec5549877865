"""Splits that are read batch by batch, for data that do not fit into memory.

A `torch.utils.data.DataLoader` reads the batches in the order of `epoch_order`, so a resumed run reads what it would have read.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from dnlbench.errors import DataError
from dnlbench.runners.custom_code import FAILURES, describe
from dnlbench.runners.training.data.split import (
    Batch,
    MemorySplit,
    Split,
    as_tensors,
    free_memory,
    hash_of,
    kind_of_inputs,
    largest_token,
)
from dnlbench.studies.training.spec import DataSettings

_BATCH = 256
"""Samples read at a time before training."""


class Samples(Protocol):
    """A map-style dataset: pairs of input and target by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def split_of(samples: Samples, chosen: NDArray[np.int64], settings: DataSettings) -> Split:
    """Read the chosen samples into memory, or stream them if they exceed half of the free memory or on request."""
    reader = _Reader(samples, chosen, settings.dataset)
    first = reader.read([0])
    size = len(chosen) * sum(part.nbytes for part in first)
    if settings.stream or size > free_memory()[0] // 2:
        return StreamedSplit(reader, settings.workers)
    parts = [reader.read(indices) for indices in _in_order(len(chosen))]
    return MemorySplit(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def streamed(split: Split, settings: DataSettings) -> Split:
    """Return a split that keeps the data in main memory and reads each batch from there."""
    if not isinstance(split, MemorySplit):
        return split
    samples = torch.utils.data.TensorDataset(split.inputs, split.targets)
    return StreamedSplit(_Reader(samples, np.arange(len(split)), settings.dataset), settings.workers)


class StreamedSplit(Split):
    """A split whose inputs are read when they are needed. Its targets are in main memory."""

    streamed = True

    def __init__(self, reader: _Reader, workers: int) -> None:
        """Read all samples once, for the hash and the targets."""
        self._reader = reader
        self._workers = workers
        self._read: tuple[Tensor, Batch] | None = None
        """Indices and content of the batch that was read ahead."""
        self.device = torch.device("cpu")
        self.largest_token = -1
        targets: list[Tensor] = []
        self.sha256 = hash_of(len(reader.chosen), self._noted(targets))
        self.targets = torch.cat(targets)

    def _noted(self, targets: list[Tensor]) -> Iterator[Batch]:
        for inputs, of_batch in self._loader(_in_order(len(self._reader.chosen))):
            self.input_shape = tuple(inputs.shape[1:])
            self.kind_of_inputs = kind_of_inputs(inputs)
            self.largest_token = max(self.largest_token, largest_token(inputs))
            targets.append(of_batch)
            yield inputs, of_batch

    @property
    def inputs(self) -> Tensor:  # type: ignore[override]
        return torch.cat([inputs for inputs, _ in self._loader(_in_order(len(self)))])

    def _to(self, device: torch.device) -> StreamedSplit:
        other = copy.copy(self)
        other.device = device
        return other

    def _stored(self, indices: Tensor) -> Batch:
        if self._read is not None and torch.equal(self._read[0], indices):
            inputs, targets = self._read[1]
        else:
            inputs, targets = self._reader.read(indices.tolist())
        return inputs.to(self.device), targets.to(self.device)

    def ahead(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        batches = list(batches)
        for indices, batch in zip(batches, self._loader([each.flatten().tolist() for each in batches]), strict=True):
            self._read = indices.flatten(), batch
            yield indices

    def _loader(self, batches: Sequence[list[int]]) -> Iterable[Batch]:
        generator = torch.Generator()  # without it the loader draws from the random state of training
        return DataLoader(
            self._reader,
            batch_sampler=batches,
            num_workers=self._workers,
            collate_fn=_unchanged,
            generator=generator,
        )


class _Reader(torch.utils.data.Dataset[Any]):
    """Reads batches of the chosen samples of a dataset."""

    def __init__(self, samples: Samples, chosen: NDArray[np.int64], name: str) -> None:
        self._samples = samples
        self.chosen = chosen
        self._name = name

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.read(indices)

    def __getitem__(self, index: int) -> Batch:
        return self.read([index])

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, indices: list[int]) -> Batch:
        """Read a batch. Random numbers that the dataset draws depend only on the indices of the batch.

        Raises:
            DataError: if a sample cannot be read, or is not a pair of input and target.
        """
        with _seeded(indices):
            pairs = [self._pair(int(self.chosen[index])) for index in indices]
        try:
            inputs, targets = (default_collate(list(part)) for part in zip(*pairs, strict=True))
        except FAILURES as error:
            raise DataError(f"data.dataset = {self._name!r}: samples differ in shape or type: {error}") from error
        return as_tensors(inputs, targets, self._name)

    def _pair(self, index: int) -> tuple[Any, Any]:
        try:
            pair = self._samples[index]
        except FAILURES as error:
            raise DataError(f"data.dataset = {self._name!r}: sample {index} fails: {describe(error)}") from error
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(
                f"data.dataset = {self._name!r}: sample {index} is of type {type(pair).__name__}; expected a pair of input "
                "and target"
            )
        return pair[0], pair[1]


def _unchanged(batch: Any) -> Any:
    return batch


def _in_order(samples: int) -> list[list[int]]:
    return [list(range(first, min(first + _BATCH, samples))) for first in range(0, samples, _BATCH)]


@contextmanager
def _seeded(indices: list[int]) -> Iterator[None]:
    """Seed torch's random state on the CPU by indices, and restore it on exit."""
    state, digest = torch.get_rng_state(), hashlib.sha256(repr(indices).encode()).digest()
    torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    try:
        yield
    finally:
        torch.set_rng_state(state)
