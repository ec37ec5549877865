"""Read one image file as 8-bit RGB. Pillow's image modes are converted as in this table, or rejected with an error.

========================================  ==========================================================================
``1``, ``L``, ``P``, ``RGB``, ``RGBX``,   Pillow's conversion
``CMYK``, ``YCbCr``, ``LAB``, ``HSV``
the same with an alpha channel or a       composited on white, with a warning: networks must not learn invisible colors
transparent color
gray of 12 or 16 bits                     the upper 8 bits; Pillow's conversion would turn all values above 255 to white.
                                          Pillow itself reads 16-bit colors in this way
``I`` and ``F`` (32 bits)                 rejected: the values of black and white are unknown
========================================  ==========================================================================

Images are rotated according to their EXIF orientation, as image viewers show them. Only the first frame of an animation is
read, with a warning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dnlbench.errors import DataError

TRANSPARENT = "transparent pixels are shown on white"
FRAMES = "only the first frame is read"
DIM = "16-bit images that use less than a quarter of their range keep fewer than 64 gray levels (scale them up first)"
_DIM_BELOW = 64
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""TIFF tags, and the value of the photometric tag for inverted images."""


def read_image(path: Path, size: int | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return an image of shape (3, H, W), resized to a square if a size is given, and warnings about it.

    Raises:
        DataError: if the file cannot be read, or its pixels cannot be converted.
    """
    try:
        with Image.open(path) as file:
            notes = [FRAMES] if getattr(file, "is_animated", False) else []
            ImageOps.exif_transpose(file, in_place=True)
            image = to_rgb(file, notes)
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:  # decoders raise many types of errors for broken files
        reason = str(error) or type(error).__name__
        raise DataError(f"data.dataset = 'image-folder': {path} cannot be read as an image: {reason}") from error
    return np.asarray(image).transpose(2, 0, 1), tuple(notes)


def to_rgb(file: Image.Image, notes: list[str]) -> Image.Image:
    """Convert an image to mode ``RGB`` and append warnings to ``notes``.

    Raises:
        DataError: if its pixels cannot be converted.
    """
    deep = file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM")  # PPM scales to 16 bits
    if (file.mode in ("I", "F") and not deep) or (deep and file.has_transparency_data):
        transparent = "with a transparent color " if deep else ""
        raise DataError(
            f"data.dataset = 'image-folder': {_name(file)} has pixels of mode {file.mode!r} {transparent}that cannot be "
            "converted unambiguously. Save the images with 8 bits per channel"
        )
    if deep:
        return _upper_bits(file, notes).convert("RGB")
    if not file.has_transparency_data:
        return file.convert("RGB")
    image = (file.convert("LA") if file.mode == "La" else file).convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append(TRANSPARENT)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _upper_bits(file: Image.Image, notes: list[str]) -> Image.Image:
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    levels = (np.asarray(file) >> (bits - 8)).astype(np.uint8)
    if levels.max() < _DIM_BELOW:
        notes.append(DIM)
    return Image.fromarray(~levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels)


def _name(file: Image.Image) -> Path:
    return Path(getattr(file, "filename", ""))
