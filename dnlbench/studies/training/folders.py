"""List image folders with one subfolder for each class, without reading images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""File name extensions of images, in lower or upper case."""
_SYSTEM_NAMES = frozenset({"$recycle.bin", "@eadir", "__macosx", "desktop.ini", "lost+found", "thumbs.db"})
_MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A skipped file or folder."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The images of a folder."""

    classes: tuple[str, ...]
    """Names of the class folders, sorted."""
    images: tuple[tuple[Path, str], ...]
    """Path and class of each image, sorted by class."""
    skipped: tuple[Skipped, ...]


def list_images(folder: Path) -> Listing:
    """List all images below the class folders. Links to folders are followed; each folder is read once.

    Raises:
        OSError: if a folder does not exist or cannot be read.
    """
    skipped: list[Skipped] = []
    images: list[tuple[Path, str]] = []
    classes = _class_names(folder, skipped)
    seen = _resolved(folder, classes)
    for name in classes:
        for parent, files in sorted(_walk(folder / name, seen, skipped), key=lambda walked: str(walked[0])):
            images += [(parent / file, name) for file in files]
    return Listing(classes=tuple(classes), images=tuple(images), skipped=tuple(skipped))


def class_names(folder: Path) -> list[str]:
    """Return the names of the class folders, sorted.

    Raises:
        OSError: if the folder does not exist or cannot be read.
    """
    return _class_names(folder, [])


def describe_skipped(folder: Path, skipped: Sequence[Skipped]) -> str:
    """Describe the skipped files and folders in a sentence. It names the first few."""
    named = [f"{entry.path.relative_to(folder)} ({entry.reason})" for entry in skipped[:_MOST_NAMED]]
    more = len(skipped) - len(named)
    return f"{folder}: skipped {', '.join(named)}{f' and {more} more' if more else ''}"


def _class_names(folder: Path, skipped: list[Skipped]) -> list[str]:
    names, seen = [], _resolved(folder)
    for path in sorted(folder.iterdir()):
        reason = _unwanted(path.name) or ("" if path.is_dir() else "not a class folder") or _seen_before(path, seen)
        if reason:
            skipped.append(Skipped(path=path, reason=reason))
        else:
            names.append(path.name)
    return names


def _walk(top: Path, seen: set[Path], skipped: list[Skipped]) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, files in os.walk(top, followlinks=True, onerror=_raise):
        parent = Path(folder)
        folders.sort()
        for child in tuple(folders):
            if reason := _unwanted(child) or _seen_before(parent / child, seen):
                folders.remove(child)
                skipped.append(Skipped(path=parent / child, reason=reason))
        reasons = {file: _unwanted(file) or _no_image(file) for file in sorted(files)}
        skipped += [Skipped(path=parent / file, reason=reason) for file, reason in reasons.items() if reason]
        yield parent, [file for file, reason in reasons.items() if not reason]


def _unwanted(name: str) -> str:
    """Return the reason to skip a file or folder with this name, or an empty string."""
    if name.startswith("."):
        return "hidden"
    return "operating system file" if name.lower() in _SYSTEM_NAMES else ""


def _no_image(name: str) -> str:
    return "" if name.lower().endswith(ENDINGS) else "not an image"


def _seen_before(folder: Path, seen: set[Path]) -> str:
    """Return a reason to skip the folder if it was read under another path. Cyclic links would never end."""
    path = folder.resolve()
    if path in seen:
        return "link to a folder that is already used"
    seen.add(path)
    return ""


def _resolved(folder: Path, names: Sequence[str] = ()) -> set[Path]:
    return {folder.resolve(), *((folder / name).resolve() for name in names)}


def _raise(error: OSError) -> None:
    raise error
