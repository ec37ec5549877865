"""Read the datasets of torchvision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from dnlbench.errors import DataError
from dnlbench.runners.training.data.split import Loaded, choose, make_split
from dnlbench.studies.training.spec import DataSettings


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A class of torchvision and the layout of its data."""

    reader: str
    """Name of the class in `torchvision.datasets`."""
    files: str
    """The expected files, for messages. ``{split}`` stands for train or test."""
    named_splits: bool = False
    """The class takes ``split="train"`` instead of ``train=True``."""
    axes: tuple[int, ...] = (0, 1, 2, 3)
    """Order of the axes of its images that gives (N, C, H, W). Images with three axes first get one for the channel."""
    labels: str = "targets"
    """Name of the attribute with the classes."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


_IDX = "raw/ with {split}-images-idx3-ubyte and {split}-labels-idx1-ubyte"
_SOURCES = {
    "mnist": _Source(reader="MNIST", files=f"MNIST/{_IDX}"),
    "fashion-mnist": _Source(reader="FashionMNIST", files=f"FashionMNIST/{_IDX}"),
    "kmnist": _Source(reader="KMNIST", files=f"KMNIST/{_IDX}"),
    "emnist-balanced": _Source(
        reader="EMNIST",
        files="EMNIST/raw/ with emnist-balanced-{split}-images-idx3-ubyte and emnist-balanced-{split}-labels-idx1-ubyte",
        axes=(0, 1, 3, 2),  # the files have transposed images
        arguments={"split": "balanced"},
    ),
    "cifar10": _Source(
        reader="CIFAR10",
        files="cifar-10-batches-py/ with data_batch_1 … data_batch_5, test_batch and batches.meta",
        axes=(0, 3, 1, 2),
    ),
    "cifar100": _Source(reader="CIFAR100", files="cifar-100-python/ with train, test and meta", axes=(0, 3, 1, 2)),
    "svhn": _Source(reader="SVHN", files="{split}_32x32.mat", named_splits=True, labels="labels"),
    "stl10": _Source(
        reader="STL10", files="stl10_binary/ with {split}_X.bin and {split}_y.bin", named_splits=True, labels="labels"
    ),
}


def read_torchvision(settings: DataSettings, training: bool) -> Loaded:
    """Read a dataset of torchvision in its original format."""
    source, in_training = _SOURCES[settings.dataset], settings.reads_training_files(training=training)
    data = _open(source, settings, "train" if in_training else "test")
    labels = getattr(data, source.labels)
    chosen = choose(len(labels), settings, training=training)
    images = data.data if data.data.ndim == 4 else data.data[:, None].numpy()
    return Loaded(split=make_split(images.transpose(source.axes), labels, chosen))


def _open(source: _Source, settings: DataSettings, split: str) -> Any:
    """Open a torchvision dataset.

    Raises:
        DataError: for any failure of torchvision.
    """
    from torchvision import datasets

    root = Path(settings.root).resolve()
    which = {"split": split} if source.named_splits else {"train": split == "train"}
    try:
        with _one_at_a_time(root) if settings.download else nullcontext():
            return getattr(datasets, source.reader)(root, download=settings.download, **which, **source.arguments)
    except Exception as error:
        remedy = (
            "The download failed; copy the files there manually"
            if settings.download
            else "Set their folder with --set data.root=FOLDER, or download them with --set data.download=true"
        )
        raise DataError(
            f"data.dataset = {settings.dataset!r}: {root} does not contain the complete original files: "
            f"{source.files.format(split=split)} ({error}). {remedy}"
        ) from error


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let one worker download the data while others wait, also on other machines with shared storage."""
    lock = FileLock(root / ".download.lock")
    with suppress(OSError):  # a read-only folder may contain complete files already
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
