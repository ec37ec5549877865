"""Image files and image folders, with the expected pixels."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnlbench.errors import DataError
from dnlbench.executor.worker import Worker
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.training.data import Dataset, load_dataset
from dnlbench.runners.training.data.image_file import DIM, FRAMES, TRANSPARENT, read_image, to_rgb
from dnlbench.store import Execution, RunDir
from dnlbench.studies.training.spec import DataSettings

Rgb = tuple[int, int, int]
RAMP = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)  # 256 levels, 0 to 65535


def pixels(path: Path) -> list[list[list[int]]]:
    """Read the pixels of a file, by channel, row and column."""
    result: list[list[list[int]]] = read_image(path, None)[0].tolist()
    return result


# Modes

CONVERTED: list[tuple[str, int | tuple[int, ...], Rgb]] = [
    ("1", 1, (255, 255, 255)),
    ("L", 7, (7, 7, 7)),
    ("LA", (100, 255), (100, 100, 100)),
    ("LA", (100, 0), (255, 255, 255)),
    ("LA", (100, 128), (177, 177, 177)),  # (100 × 128 + 255 × 127) / 255
    ("La", (50, 128), (177, 177, 177)),
    ("RGB", (1, 2, 3), (1, 2, 3)),
    ("RGBX", (1, 2, 3, 0), (1, 2, 3)),
    ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
    ("RGBA", (1, 2, 3, 0), (255, 255, 255)),
    ("RGBA", (0, 100, 255, 128), (127, 177, 255)),
    ("RGBa", (0, 50, 128, 128), (127, 177, 255)),
    ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
    ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
    ("YCbCr", (76, 85, 255), (254, 0, 0)),
    ("HSV", (0, 255, 200), (200, 0, 0)),
    ("I;16", 25700, (100, 100, 100)),
    ("I;16L", 25700, (100, 100, 100)),
    ("I;16B", 25700, (100, 100, 100)),
    ("I;16N", 25700, (100, 100, 100)),
]


@pytest.mark.parametrize(("mode", "color", "expected"), CONVERTED)
def test_modes_are_converted(mode: str, color: int | tuple[int, ...], expected: Rgb) -> None:
    notes: list[str] = []
    assert to_rgb(Image.new(mode, (1, 1), color), notes).getpixel((0, 0)) == expected
    opaque = not isinstance(color, tuple) or len(color) != len(mode) or mode[-1] not in "aA" or color[-1] == 255
    assert notes == ([] if opaque else [TRANSPARENT])


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_known_range_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"pixels of mode '{mode}' .* Save the images with 8 bits per channel"):
        to_rgb(Image.new(mode, (1, 1)), [])


def test_every_mode_is_converted_or_refused() -> None:
    """Modes that are not listed above depend on the version of Pillow, or need a palette."""
    assert set(Image.MODES) <= {mode for mode, *_ in CONVERTED} | {"I", "F", "LAB", "P", "PA"}


@pytest.mark.parametrize(("alpha", "expected"), [(255, (9, 8, 7)), (0, (255, 255, 255))])
@pytest.mark.parametrize("mode", ["P", "PA"])
def test_palettes_with_transparency(tmp_path: Path, mode: str, alpha: int, expected: Rgb) -> None:
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    if mode == "PA":
        image = image.convert("PA")
        image.putalpha(alpha)
        image.save(tmp_path / "1.tif")
    else:
        image.save(tmp_path / "1.png", transparency=bytes([255, alpha]))
    (path,) = tmp_path.iterdir()
    with Image.open(path) as file:
        assert file.mode == mode
    assert pixels(path) == [[[value]] for value in expected]


def test_a_transparent_color_is_shown_on_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (4, 5, 6))
    image.save(tmp_path / "1.png", transparency=(1, 2, 3))
    assert pixels(tmp_path / "1.png") == [[[255, 4]], [[255, 5]], [[255, 6]]]


# More than 8 bits


def tiff(path: Path, rows: int, columns: int, bits: int, content: bytes, *, white_is_zero: bool = False) -> None:
    """Gray pixels without compression, in little-endian order."""
    tags = {256: columns, 257: rows, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 0, 277: 1, 278: rows}
    tags[279] = len(content)
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + content)


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "gray.pgm", "big-endian.tif", "inverted.tif"])
def test_gray_of_16_bits_keeps_all_levels_that_8_bits_have(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "inverted.tif":
        tiff(path, 16, 16, 16, (65535 - RAMP).astype("<u2").tobytes(), white_is_zero=True)
    elif name == "big-endian.tif":
        Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(RAMP).save(path)
    image, notes = read_image(path, None)
    assert image.shape == (3, 16, 16)
    assert all(channel.flatten().tolist() == list(range(256)) for channel in image)
    assert notes == ()


def test_gray_of_12_bits(tmp_path: Path) -> None:
    tiff(tmp_path / "1.tif", 1, 2, 12, bytes([0xFF, 0xF8, 0x00]))  # 4095 and 2048
    assert pixels(tmp_path / "1.tif") == [[[255, 128]]] * 3


def test_gray_that_leaves_its_range_unused_is_reported(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 4095, np.uint16)).save(tmp_path / "1.png")
    image, notes = read_image(tmp_path / "1.png", None)
    assert (image == 15).all()
    assert notes == (DIM,)


def test_colors_of_16_bits(tmp_path: Path) -> None:
    values = np.array([[[0, 257 * 100, 65535], [255, 256, 65279]]], dtype=">u2")

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(b"\0" + values.tobytes()))
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + content + chunk(b"IEND", b""))
    assert pixels(tmp_path / "1.png") == [[[0, 0]], [[100, 1]], [[255, 254]]]


def test_floating_point_pixels_are_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "1.tif"
    Image.fromarray(np.array([[0.25, 1.0]], np.float32)).save(path)
    with pytest.raises(DataError, match=f"{path} has pixels of mode 'F'"):
        read_image(path, None)


# Orientation and frames


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_photographs_are_turned_upright(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held with its right side down
    image = Image.fromarray(np.array([[[1, 1, 1], [2, 2, 2]]], np.uint8))
    image.save(tmp_path / f"1.{ending}", exif=exif, lossless=True)
    assert pixels(tmp_path / f"1.{ending}") == [[[1], [2]]] * 3


@pytest.mark.parametrize("ending", ["gif", "tif", "png"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, ending: str) -> None:
    first, second = (Image.new("RGB", (1, 1), color) for color in ("red", "blue"))
    first.save(tmp_path / f"1.{ending}", save_all=True, append_images=[second])
    image, notes = read_image(tmp_path / f"1.{ending}", None)
    assert image.flatten().tolist() == [255, 0, 0]
    assert notes == (FRAMES,)


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with three images each."""
    for name, color in (("a", 10), ("b", 200)):
        for number in range(3):
            save(tmp_path / "train" / name / f"{number}.png", color + number)
    return tmp_path / "train"


def save(path: Path, color: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), color).save(path)


def load(folder: Path, *, evaluate: bool = False) -> Dataset:
    settings = {"dataset": "image-folder", "root": str(folder.parent)}
    return load_dataset(DataSettings.model_validate(settings), evaluate=evaluate)


def test_files_that_are_not_data_are_skipped_and_named(folder: Path) -> None:
    clean = load(folder)
    assert clean.warnings == ()
    for name in (".ipynb_checkpoints/0.png", "__MACOSX/a/0.png", "a/.hidden/0.png", "a/._0.png", "b/@eaDir/0.png"):
        save(folder / name, 77)
    for name in ("Thumbs.db", "a/desktop.ini", "b/.DS_Store", "labels.csv", "b/notes.txt"):
        (folder / name).write_text("no image")
    data = load(folder)
    assert data.info == clean.info
    assert data.info.classes == 2
    assert data.warnings == (
        f"{folder}: skipped .ipynb_checkpoints (hidden), Thumbs.db (operating system file), __MACOSX (operating "
        "system file), labels.csv (not a class folder) and 6 more",
    )


def test_images_below_a_class_folder_and_behind_links_are_read_once(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "deep" / "9.PNG", 30)
    (folder / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "self").symlink_to(folder / "a")
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "other").symlink_to(folder / "a")
    (folder / "c").symlink_to(folder / "a")
    (folder / "circle").symlink_to(folder)
    data = load(folder)
    assert (data.info.samples, data.info.classes) == (7, 2)
    assert data.training.inputs[:, 0, 0, 0].tolist() == [10, 11, 12, 30, 200, 201, 202]
    assert data.warnings == (
        f"{folder}: skipped c (link to a folder that is already used), circle (link to a folder that is already used), "
        "a/self (link to a folder that is already used), b/other (link to a folder that is already used) and 1 more",
    )


def test_class_folders_without_images_are_refused(folder: Path) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "0.heic").write_text("")
    with pytest.raises(DataError, match=r"train: no images in c \(.* skipped c/0.heic \(not an image\)\)\. Expected: "):
        load(folder)


def test_a_folder_that_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=f"{folder}(/a)? cannot be read: Permission denied"):
        load(folder)


def test_conversions_of_images_are_reported_with_the_first_of_them(folder: Path) -> None:
    for name in "ab":
        Image.new("RGBA", (2, 2), (1, 2, 3, 100)).save(folder / name / "clear.png")
    assert load(folder).warnings == (f"{TRANSPARENT}: {folder}/a/clear.png and 1 more",)


def test_the_evaluation_split_has_its_own_hash(folder: Path) -> None:
    test = folder.parent / "test"
    save(test / "b" / "0.png", 5)
    without, before = load(folder).info, load(folder, evaluate=True).info
    save(test / "b" / "0.png", 6)
    after = load(folder, evaluate=True).info
    assert (without.evaluation_sha256, without.evaluation_samples) == (None, None)
    assert without.sha256 == before.sha256 == after.sha256
    assert (before.evaluation_samples, before.loaded_bytes) == (1, 7 * 3 * 2 * 2)
    assert before.differing_split(after) == "evaluation"
    assert before.differing_split(before) is None
    assert without.differing_split(after) is None
    assert without.differing_split(after.model_copy(update={"sha256": "0"})) == "training"
    assert without.differing_split(after.model_copy(update={"classes": 3})) == "training"


@pytest.mark.parametrize("split", ["training", "evaluation"])
def test_a_worker_notices_that_data_were_changed_in_place(
    folder: Path, tmp_path: Path, make_plan: Callable[..., Plan], slot: Slot, split: str
) -> None:
    save(folder.parent / "test" / "a" / "0.png", 5)
    plan = make_plan("data.dataset=image-folder", f"data.root={folder.parent}", "data.limit=6", "train.evaluate=true")
    run_dir = RunDir(tmp_path / "rd")
    run_dir.begin(plan, Execution.here(device_kind="cpu", threads=1, pack_size=1, machine=""))
    prepared = Worker(run_dir, slot, 30.0).prepare()
    Worker(run_dir, slot, 30.0).check_unchanged(prepared.data, prepared.code)
    save(folder.parent / ("train" if split == "training" else "test") / "a" / "0.png", 6)
    with pytest.raises(DataError, match=f"the {split} data have changed since the sweep started"):
        Worker(run_dir, slot, 30.0).check_unchanged(prepared.data, prepared.code)
