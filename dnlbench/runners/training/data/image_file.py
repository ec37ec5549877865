"""One image file as 8-bit RGB: every mode of Pillow is converted as said here, or refused by its name.

========================================  ==========================================================================
``1``, ``L``, ``P``, ``RGB``, ``RGBX``,   Pillow's conversion
``CMYK``, ``YCbCr``, ``LAB``, ``HSV``
the same with an alpha channel or a       shown on white, with a warning: colors that nobody sees must not be learned
transparent color
gray of 12 or 16 bits                     the upper 8 bits; Pillow's conversion would turn all above 255 to white.
                                          Pillow does the same to colors of 16 bits when it opens a file
``I`` and ``F`` (32 bits)                 refused: nothing tells which values are black and white
========================================  ==========================================================================

Images are turned upright as their EXIF orientation says, which is how people saw them who sorted them into classes. Of several
frames the first is read, with a warning.
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
"""Tags of a TIFF, and a value."""


def read_image(path: Path, side: int | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """An image of shape (3, H, W), resized to a square if a side is given, and what the user should know of it.

    Raises:
        DataError: if it cannot be read, or has pixels that cannot be converted.
    """
    try:
        with Image.open(path) as file:
            notes = [FRAMES] if getattr(file, "is_animated", False) else []
            ImageOps.exif_transpose(file, in_place=True)
            image = to_rgb(file, notes)
        if side is not None and image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:  # a broken file makes decoders raise almost anything
        reason = str(error) or type(error).__name__
        raise DataError(f"data.dataset = 'image-folder': {path} cannot be read as an image: {reason}") from error
    return np.asarray(image).transpose(2, 0, 1), tuple(notes)


def to_rgb(file: Image.Image, notes: list[str]) -> Image.Image:
    """The image in mode ``RGB``. What the user should know is added to the notes.

    Raises:
        DataError: if its pixels cannot be converted.
    """
    deep = file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM")  # PPM scales to 16 bits
    if (file.mode in ("I", "F") and not deep) or (deep and file.has_transparency_data):
        transparent = "with a transparent color " if deep else ""
        raise DataError(
            f"data.dataset = 'image-folder': {_name(file)} has pixels of mode {file.mode!r} {transparent}that cannot be "
            "converted without a guess. Save the images with 8 bits a channel"
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
