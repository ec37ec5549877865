"""Read image folders with one subfolder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dnlbench.errors import DataError
from dnlbench.runners.training.data.image_file import read_image
from dnlbench.runners.training.data.split import Loaded, choose, empty_images, make_split
from dnlbench.studies.training.folders import ENDINGS, Listing, class_names, describe_skipped, list_images
from dnlbench.studies.training.spec import DataSettings

_EVALUATION = ("test", "val", "valid", "validation")
"""Names of the folder with the evaluation split."""


def read_image_folder(settings: DataSettings, training: bool) -> Loaded:
    """Read ``root/train/<class>/<image>`` or ``root/test/<class>/<image>`` as RGB. Classes are numbered in order of name."""
    in_training = settings.reads_training_files(training=training)
    folder = _folder(settings, in_training=in_training)
    listing = _list(folder)
    classes = listing.classes if in_training else _training_classes(settings, folder, listing)
    chosen = [listing.images[index] for index in choose(len(listing.images), settings, training=training)]
    numbers = {name: number for number, name in enumerate(classes)}
    images, notes = _read([path for path, _ in chosen], settings)
    skipped = [describe_skipped(folder, listing.skipped)] if listing.skipped else []
    return Loaded(
        split=make_split(images, [numbers[name] for _, name in chosen]),
        classes=len(classes),
        warnings=(*skipped, *notes),
    )


def _folder(settings: DataSettings, *, in_training: bool) -> Path:
    """Return the folder with the class folders of a split: of evaluation the first that exists."""
    root = Path(settings.root).resolve()
    folders = [root / name for name in (("train",) if in_training else _EVALUATION)]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _list(folder: Path) -> Listing:
    if not folder.is_dir():
        raise DataError(
            f"data.dataset = 'image-folder': the folder {folder} does not exist. Expected: {folder}/<class>/<image>, with "
            "one folder for each class. Set its parent folder with --set data.root=FOLDER"
        )
    try:
        listing = list_images(folder)
    except OSError as error:
        raise DataError(f"data.dataset = 'image-folder': {error.filename} cannot be read: {error.strerror}") from error
    filled = {name for _, name in listing.images}
    empty = [name for name in listing.classes if name not in filled]
    if empty or not filled:
        problem = f"no images in {', '.join(empty)}" if empty else "no class folders"
        skipped = f" ({describe_skipped(folder, listing.skipped)})" if listing.skipped else ""
        raise DataError(
            f"data.dataset = 'image-folder': {folder}: {problem}{skipped}. Expected: {folder}/<class>/<image>, with file "
            f"names that end in {', '.join(ENDINGS)}"
        )
    return listing


def _training_classes(settings: DataSettings, folder: Path, listing: Listing) -> Sequence[str]:
    classes = class_names(_folder(settings, in_training=True))
    unknown = [name for name in listing.classes if name not in classes]
    if unknown:
        raise DataError(
            f"data.dataset = 'image-folder': {folder} has classes that are not in the training "
            f"split: {', '.join(unknown)}"
        )
    return classes


def _read(paths: Sequence[Path], settings: DataSettings) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images of one size, shape (N, 3, H, W), and warnings about them."""
    size = settings.image_size
    height, width = (size, size) if size else read_image(paths[0], size)[0].shape[1:]
    images = empty_images(len(paths), (3, height, width), settings)
    noted: dict[str, list[Path]] = {}
    for index, path in enumerate(paths):
        image, notes = read_image(path, size)
        if image.shape != images.shape[1:]:
            raise DataError(
                f"data.dataset = 'image-folder': images differ in size: {paths[0]} is {height}×{width}, {path} "
                f"is {image.shape[1]}×{image.shape[2]}. Resize them with --set data.image_size=32"
            )
        images[index] = image
        for note in notes:
            noted.setdefault(note, []).append(path)
    return images, [
        f"{note}: {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        for note, paths in noted.items()
    ]
