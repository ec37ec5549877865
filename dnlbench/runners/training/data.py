"""Datasets, each split as one uint8 tensor of images and one tensor of labels on the device.

Networks here are small, so a loader with worker processes would cost more than it hides: batches are gathered on the device
instead, in an order that depends on the seed and the epoch alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from dnlbench.errors import DataError
from dnlbench.events import DataInfo
from dnlbench.runners.digits import read_digits
from dnlbench.studies.training.spec import DataSettings

_CHOICE_SEED = 20251002
_DIGITS_TRAINING = 1500


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their classes."""

    images: Tensor
    """uint8, shape (N, C, H, W)."""
    labels: Tensor
    """int64, shape (N,)."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        """The split on a device."""
        return Split(images=self.images.to(device), labels=self.labels.to(device))

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images scaled to [0, 1], float32 in channels-last format, and labels, at ``indices`` on the split's device."""
        images = self.images[indices].to(torch.float32).div_(255)
        return images.contiguous(memory_format=torch.channels_last), self.labels[indices]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a sweep trains on."""

    info: DataInfo
    training: Split
    evaluation: Split | None
    """None unless asked for."""


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch visits the samples: a permutation that depends on seed and epoch and nothing else."""
    digest = hashlib.sha256(f"order/{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randperm(samples, generator=generator)


def load_dataset(settings: DataSettings, *, evaluate: bool) -> Dataset:
    """Reads the training split, cut to ``limit`` samples, and the evaluation split if it is asked for.

    Raises:
        DataError: if files are absent, unreadable or unfit for training, with what was expected and where.
    """
    read = _READERS[settings.dataset]
    training, classes = read(settings, True)
    evaluation = read(settings, False)[0] if evaluate else None
    _check(training, settings)
    info = DataInfo(
        name=settings.dataset,
        sha256=_fingerprint(training),
        samples=len(training),
        input_shape=tuple(training.images.shape[1:]),
        classes=classes,
    )
    return Dataset(info=info, training=training, evaluation=evaluation)


def _check(split: Split, settings: DataSettings) -> None:
    found = len(set(split.labels.tolist()))
    if found < 2:
        raise DataError(
            f"data.dataset = {settings.dataset!r}: the training split holds {len(split)} samples of {found} "
            "class; a classifier needs at least two classes. Check data.root and data.limit"
        )


def _fingerprint(split: Split) -> str:
    digest = hashlib.sha256(repr(tuple(split.images.shape)).encode())
    digest.update(split.images.contiguous().numpy().data)
    digest.update(split.labels.numpy().data)
    return digest.hexdigest()


def _choice(samples: int, limit: int | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Indices of the samples to use: all, or a random choice of ``limit`` that is the same every time, in file order."""
    if limit is None or limit >= samples:
        return np.arange(samples)
    chosen = torch.randperm(samples, generator=torch.Generator().manual_seed(_CHOICE_SEED))[:limit]
    return np.sort(chosen.numpy())


def _split(images: np.ndarray[Any, Any], labels: Any, limit: int | None) -> Split:
    """A split from uint8 images of shape (N, C, H, W)."""
    chosen = _choice(len(images), limit)
    return Split(
        images=torch.from_numpy(np.ascontiguousarray(images[chosen], dtype=np.uint8)),
        labels=torch.from_numpy(np.asarray(labels, dtype=np.int64)[chosen]),
    )


def _limit(settings: DataSettings, training: bool) -> int | None:
    return settings.limit if training else None


def _digits(settings: DataSettings, training: bool) -> tuple[Split, int]:
    """The 1,797 digits that scikit-learn ships, 8×8 with 17 grey levels; the first 1,500 are the training split."""
    images, labels = read_digits()
    images = np.rint(images * (255 / 16))[:, None]  # (N, 1, 8, 8)
    part = slice(None, _DIGITS_TRAINING) if training else slice(_DIGITS_TRAINING, None)
    return _split(images[part], labels[part], _limit(settings, training)), 10


def _cifar10(settings: DataSettings, training: bool) -> tuple[Split, int]:
    from torchvision.datasets import CIFAR10

    data = _open(
        CIFAR10,
        settings,
        "cifar-10-batches-py/ with data_batch_1 … data_batch_5, test_batch and batches.meta",
        train=training,
    )
    return _split(data.data.transpose(0, 3, 1, 2), data.targets, _limit(settings, training)), 10


def _svhn(settings: DataSettings, training: bool) -> tuple[Split, int]:
    from torchvision.datasets import SVHN

    part = "train" if training else "test"
    data = _open(SVHN, settings, f"{part}_32x32.mat", split=part)
    return _split(data.data, data.labels, _limit(settings, training)), 10


def _open(reader: Callable[..., Any], settings: DataSettings, expected: str, **arguments: Any) -> Any:
    """A torchvision dataset; its many ways to fail as one error with a remedy."""
    root = Path(settings.root).resolve()
    try:
        with _one_at_a_time(root) if settings.download else nullcontext():
            return reader(root, download=settings.download, **arguments)
    except Exception as error:
        remedy = (
            "The download failed; copy the files there by hand"
            if settings.download
            else "Name their folder with --set data.root=FOLDER, or fetch them with --set data.download=true"
        )
        raise DataError(
            f"data.dataset = {settings.dataset!r}: {root} does not hold the original, whole {expected} "
            f"({error}). {remedy}"
        ) from error


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Workers on several machines may want the same data at the same moment; one of them fetches them."""
    lock = FileLock(root / ".download.lock")
    with suppress(OSError):  # where nothing can be written nothing is fetched, but all of it may be there
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _image_folder(settings: DataSettings, training: bool) -> tuple[Split, int]:
    """``root/train/<class>/*`` and ``root/test/<class>/*``; files in any format that Pillow reads, as RGB."""
    from torchvision.datasets import ImageFolder

    folder = Path(settings.root).resolve() / ("train" if training else "test")
    if not folder.is_dir():
        raise DataError(
            f"data.dataset = 'image-folder': there is no folder {folder}. Expected: {folder}/<class>/<image>, with one "
            "folder for each class. Name the folder above it with --set data.root=FOLDER"
        )
    try:
        listing = ImageFolder(folder)
    except FileNotFoundError as error:
        raise DataError(f"data.dataset = 'image-folder': {folder}: {error}") from error
    classes = listing.classes if training else _training_classes(settings, folder, listing.classes)
    chosen = [listing.samples[i] for i in _choice(len(listing.samples), _limit(settings, training))]
    images = [_read_image(Path(path), settings.image_size) for path, _ in chosen]
    sizes = {image.shape[1:] for image in images}
    if len(sizes) > 1:
        other = next(i for i, image in enumerate(images) if image.shape != images[0].shape)
        raise DataError(
            f"data.dataset = 'image-folder': images differ in size: {chosen[0][0]} is {_size(images[0])}, "
            f"{chosen[other][0]} is {_size(images[other])}. Bring them to one size with --set data.image_size=32"
        )
    labels = [classes.index(listing.classes[label]) for _, label in chosen]
    return _split(np.stack(images), labels, None), len(classes)


def _training_classes(settings: DataSettings, folder: Path, found: list[str]) -> list[str]:
    """The classes of the training split, whose numbers hold for the evaluation split too."""
    from torchvision.datasets.folder import find_classes

    classes: list[str] = find_classes(Path(settings.root).resolve() / "train")[0]
    unknown = [name for name in found if name not in classes]
    if unknown:
        raise DataError(
            f"data.dataset = 'image-folder': {folder} has classes that the training split lacks: {', '.join(unknown)}"
        )
    return classes


def _size(image: np.ndarray[Any, Any]) -> str:
    return f"{image.shape[1]}×{image.shape[2]}"


def _read_image(path: Path, side: int | None) -> np.ndarray[Any, Any]:
    """One image as uint8 of shape (3, H, W), resized to a square if a side is given."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"data.dataset = 'image-folder': {path} cannot be read as an image: {error}") from error
    if side is not None and image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _synthetic(settings: DataSettings, training: bool) -> tuple[Split, int]:
    """A random pattern for each class under random noise: nothing to read, and something to learn."""
    (channels, side, _), classes = settings.known_input or ((3, 32, 32), 10)
    samples = settings.samples or 1024
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (classes, channels, side, side))
    random = np.random.default_rng(1 if training else 2)
    labels = np.arange(samples) % classes
    noise = random.integers(0, 256, (samples, channels, side, side))
    return _split((patterns[labels] + 3 * noise) // 4, labels, _limit(settings, training)), classes


_READERS: dict[str, Callable[[DataSettings, bool], tuple[Split, int]]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "svhn": _svhn,
    "image-folder": _image_folder,
    "synthetic": _synthetic,
}
