"""Load the dataset of a spec's ``[data]`` into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from dnlbench.errors import DataError
from dnlbench.events import DataInfo
from dnlbench.runners.digits import read_digits
from dnlbench.runners.training.data.image_folder import read_image_folder
from dnlbench.runners.training.data.normalization import Normalization
from dnlbench.runners.training.data.split import Loaded, Split, choose, make_split
from dnlbench.runners.training.data.synthetic import make_synthetic
from dnlbench.runners.training.data.torchvision_files import read_cifar10, read_svhn
from dnlbench.studies.training.spec import DataSettings

_DIGITS_TRAINING = 1500


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The data of a sweep."""

    info: DataInfo
    training: Split
    evaluation: Split | None
    """None unless requested."""
    warnings: tuple[str, ...] = ()
    """Warnings about files that were read, one sentence each."""

    def to(self, device: torch.device) -> Dataset:
        evaluation = self.evaluation.to(device) if self.evaluation else None
        return replace(self, training=self.training.to(device), evaluation=evaluation)


def load_dataset(settings: DataSettings, *, evaluate: bool) -> Dataset:
    """Load the training split, limited to ``limit`` samples, and the evaluation split if requested.

    Raises:
        DataError: if files are missing, unreadable or unsuitable for training, or do not fit into memory.
    """
    read = _READERS[settings.dataset]
    loaded = read(settings, True)
    _check(loaded.split, settings)
    evaluation = read(settings, False) if evaluate else None
    training = loaded.split
    _check_changes(training, settings)
    info = DataInfo(
        name=settings.dataset,
        sha256=training.sha256,
        samples=len(training),
        input_shape=tuple(training.inputs.shape[1:]),
        inputs=training.kind_of_inputs,
        classes=loaded.classes,
        targets=training.kind_of_targets,
        evaluation_sha256=evaluation.split.sha256 if evaluation else None,
        evaluation_samples=len(evaluation.split) if evaluation else None,
    )
    split = evaluation.split if evaluation else None
    if settings.normalize:
        normalization = Normalization.measure(lambda indices: training.batch(indices)[0], len(training))
        training = replace(training, normalization=normalization)
        split = split and replace(split, normalization=normalization)
    return Dataset(
        info=info,
        training=training,
        evaluation=split,
        warnings=(*loaded.warnings, *(evaluation.warnings if evaluation else ())),
    )


def blank_inputs(data: DataInfo, count: int) -> torch.Tensor:
    """Return inputs of zeros in the form in which networks read them, to try networks before training."""
    dtype = torch.int64 if data.inputs == "tokens" else torch.float32
    return torch.zeros(count, *data.input_shape, dtype=dtype)


def _check(split: Split, settings: DataSettings) -> None:
    if split.kind_of_targets != "classes":
        return
    classes = len(np.unique(split.targets.numpy()))
    if classes < 2:
        raise DataError(
            f"data.dataset = {settings.dataset!r}: the training split has {len(split)} samples of {classes} "
            "class; a classifier needs at least two classes. Check data.root and data.limit"
        )


def _check_changes(split: Split, settings: DataSettings) -> None:
    """Check that the inputs can be augmented and normalized as requested."""
    kind, shape = split.kind_of_inputs, tuple(split.inputs.shape[1:])
    if settings.augment and (kind == "tokens" or len(shape) != 3):
        raise DataError(
            f"data.augment = {list(settings.augment)}: the inputs are {kind} of shape {shape}; only images of shape "
            "(channels, height, width) can be cropped and flipped. Remove data.augment"
        )
    if settings.normalize and kind == "tokens":
        raise DataError("data.normalize = true: the inputs are tokens, which have no mean. Remove data.normalize")


def _read_digits(settings: DataSettings, training: bool) -> Loaded:
    """Read scikit-learn's 1,797 digits, 8×8 pixels with 17 gray levels. The first 1,500 are the training split."""
    images, labels = read_digits()
    images = np.rint(images * (255 / 16))[:, None]  # (N, 1, 8, 8)
    part = slice(None, _DIGITS_TRAINING) if training else slice(_DIGITS_TRAINING, None)
    chosen = choose(len(labels[part]), settings, training=training)
    return Loaded(split=make_split(images[part], labels[part], chosen), classes=10)


_READERS: dict[str, Callable[[DataSettings, bool], Loaded]] = {
    "digits": _read_digits,
    "cifar10": read_cifar10,
    "svhn": read_svhn,
    "image-folder": read_image_folder,
    "synthetic": make_synthetic,
}
