"""Read arrays of inputs ``x`` and targets ``y`` from .npz and .npy files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dnlbench.errors import DataError
from dnlbench.runners.training.data.split import Loaded, choose, from_arrays
from dnlbench.runners.training.data.stream import split_of
from dnlbench.studies.training.spec import DataSettings

FRACTION = "Evaluate on a part of the training split with --set data.evaluation_fraction=0.2"
"""The remedy for data without an evaluation split."""


def read_npz(settings: DataSettings, training: bool) -> Loaded:
    """Read ``root/train.npz`` and ``root/test.npz`` with arrays x and y, or one file ``root``.

    The file has x_train, y_train, x_test and y_test, as Keras writes it, or x and y, which are the training split.
    """
    root, part = Path(settings.root).resolve(), _part(settings, training)
    file = root if root.is_file() else root / f"{part}.npz"
    expected = f"{file} with arrays x and y, or set data.root to one .npz file with x_{part} and y_{part}"
    try:
        with np.load(file) as archive:
            arrays = {name: archive[name] for name in archive.files if name in _names(part)}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"data.dataset = 'npz': {file} cannot be read ({error}). Expected: {expected}") from error
    names = _names(part)[:2] if root.is_file() and part == "test" else _names(part)
    return from_arrays(*_pair(arrays, names, file, "npz"), settings, training=training)


def read_npy(settings: DataSettings, training: bool) -> Loaded:
    """Read ``root/x_train.npy``, ``y_train.npy``, ``x_test.npy`` and ``y_test.npy``, or x.npy and y.npy.

    With ``data.stream`` the files are mapped into memory, so that they may be larger than it.
    """
    root, part = Path(settings.root).resolve(), _part(settings, training)
    names = _names(part) if part == "train" else _names(part)[:2]
    try:
        arrays = {
            n: np.load(root / f"{n}.npy", mmap_mode="r" if settings.stream else None)
            for n in names
            if (root / f"{n}.npy").is_file()
        }
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"data.dataset = 'npy': a file in {root} cannot be read: {error}") from error
    inputs, targets = _pair(arrays, names, root, "npy")
    if not settings.stream:
        return from_arrays(inputs, targets, settings, training=training)
    chosen = choose(len(inputs), settings, training=training)
    return Loaded(split=split_of(_Rows(inputs, targets), chosen, settings))


class _Rows:
    """The samples of two arrays."""

    def __init__(self, inputs: NDArray[Any], targets: NDArray[Any]) -> None:
        self._inputs = inputs
        self._targets = targets

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(np.array(self._inputs[index])), torch.from_numpy(np.array(self._targets[index]))


def _part(settings: DataSettings, training: bool) -> str:
    return "train" if settings.reads_training_files(training=training) else "test"


def _names(part: str) -> tuple[str, ...]:
    return (f"x_{part}", f"y_{part}", "x", "y")


def _pair(
    arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...], path: Path, dataset: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    for x, y in zip(names[::2], names[1::2], strict=True):
        if x in arrays and y in arrays:
            return arrays[x], arrays[y]
    remedy = f". {FRACTION}" if names[0] == "x_test" else ""
    expected = " or ".join(f"{x} and {y}" for x, y in zip(names[::2], names[1::2], strict=True))
    raise DataError(f"data.dataset = {dataset!r}: {path} does not contain {expected}{remedy}")
