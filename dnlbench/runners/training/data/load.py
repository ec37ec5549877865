"""Load the dataset of a spec's ``[data]``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import torch

from dnlbench.errors import DataError
from dnlbench.events import DataInfo
from dnlbench.runners.training.data.custom import read_custom
from dnlbench.runners.training.data.normalization import Normalization
from dnlbench.runners.training.data.split import Loaded, Split
from dnlbench.runners.training.data.stream import streamed
from dnlbench.studies.training.spec import DataSettings


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
    loaded = _read(settings, training=True)
    training = loaded.split
    _check(training, settings)
    _check_changes(training, settings)
    evaluation = _read(settings, training=False) if evaluate else None
    info = DataInfo(
        name=settings.dataset,
        sha256=training.sha256,
        samples=len(training),
        input_shape=training.input_shape,
        inputs=training.kind_of_inputs,
        classes=_outputs(loaded, settings),
        targets=training.kind_of_targets,
        evaluation_sha256=evaluation.split.sha256 if evaluation else None,
        evaluation_samples=len(evaluation.split) if evaluation else None,
        streamed=training.streamed,
    )
    if evaluation:
        _check_evaluation(evaluation.split, info)
    split = evaluation.split if evaluation else None
    if settings.normalize:
        normalization = Normalization.measure(lambda indices: training.batch(indices)[0], len(training))
        training = training.normalized(normalization)
        split = split and split.normalized(normalization)
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


def _read(settings: DataSettings, *, training: bool) -> Loaded:
    if settings.declaration is None:
        read = read_custom
    else:
        module, _, function = settings.declaration.reader.partition(":")
        read = getattr(import_module(module), function)
    loaded = read(settings, training)
    if len(loaded.split) == 0:
        part = "training" if training else "evaluation"
        raise DataError(f"data.dataset = {settings.dataset!r}: the {part} split has no samples")
    return replace(loaded, split=streamed(loaded.split, settings)) if settings.stream else loaded


def _outputs(loaded: Loaded, settings: DataSettings) -> int:
    """Return the number of outputs of a network: as set, as the reader or the declaration says, or as the targets need."""
    known, needed = settings.known_input, loaded.split.outputs
    if loaded.split.kind_of_targets == "values":
        return needed
    outputs = settings.classes or loaded.classes or (known[1] if known else needed)
    if needed > outputs:
        raise DataError(
            f"data.dataset = {settings.dataset!r}: {loaded.split.kind_of_targets} are numbered 0 to {needed - 1}, but there "
            f"are {outputs}. Set their number with --set data.classes={needed}, or number them from 0"
        )
    return outputs


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
    kind, shape = split.kind_of_inputs, split.input_shape
    if settings.augment and (kind == "tokens" or len(shape) != 3):
        raise DataError(
            f"data.augment = {list(settings.augment)}: the inputs are {kind} of shape {shape}; only images of shape "
            "(channels, height, width) can be cropped and flipped. Remove data.augment"
        )
    if settings.normalize and kind == "tokens":
        raise DataError("data.normalize = true: the inputs are tokens, which have no mean. Remove data.normalize")


def _check_evaluation(split: Split, info: DataInfo) -> None:
    """Check that a network for the training split can be evaluated on the evaluation split."""
    training = (info.inputs, info.input_shape, info.targets)
    actual = (split.kind_of_inputs, split.input_shape, split.kind_of_targets)
    if actual != training:
        described = ["{} of shape {} with {}".format(*each) for each in (training, actual)]
        raise DataError(
            f"data.dataset = {info.name!r}: the training split has {described[0]}, the evaluation split {described[1]}"
        )
    assert info.classes is not None
    if split.outputs > info.classes or (info.targets == "values" and split.outputs != info.classes):
        raise DataError(
            f"data.dataset = {info.name!r}: the evaluation split needs {split.outputs} outputs, the training split has "
            f"{info.classes}. Set the number of {info.targets} with --set data.classes={split.outputs}"
        )
