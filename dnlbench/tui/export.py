"""Export of charts and tables to the current folder. Existing files are never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Literal

from dnlbench.files import write_atomically


def export(stem: str, contents: Mapping[str, str]) -> tuple[str, Literal["information", "error"]]:
    """Write files with a common stem to the current folder, and return a message and its severity.

    Args:
        stem: name without suffix; a number is added if a file exists.
        contents: text by suffix.
    """
    try:
        written = write_new(Path.cwd(), stem, contents)
    except OSError as error:
        return f"Export failed: {error.strerror or error}", "error"
    return "\n".join(["Exported to:", *map(str, written)]), "information"


def write_new(folder: Path, stem: str, contents: Mapping[str, str]) -> list[Path]:
    """Write files with a common stem to a folder, with the first number at which none of them exists."""
    stems = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    for each in stems:
        targets = {folder / f"{each}{suffix}": text for suffix, text in contents.items()}
        if not any(path.exists() for path in targets):
            break
    for path, text in targets.items():
        write_atomically(path, text.encode())
    return list(targets)
