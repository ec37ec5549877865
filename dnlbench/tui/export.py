"""Files that a screen leaves in the current folder. Nothing is ever overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Literal

from dnlbench.files import write_atomically


def export(stem: str, contents: Mapping[str, str]) -> tuple[str, Literal["information", "error"]]:
    """Writes files of one stem, by suffix, into the current folder; what to tell of it."""
    try:
        written = write_new(Path.cwd(), stem, contents)
    except OSError as error:
        return f"export failed: {error.strerror or error}", "error"
    return "\n".join(["written:", *map(str, written)]), "information"


def write_new(folder: Path, stem: str, contents: Mapping[str, str]) -> list[Path]:
    """Writes files of one stem, by suffix, with the first number behind it that none of them is taken with."""
    stems = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    for each in stems:
        targets = {folder / f"{each}{suffix}": text for suffix, text in contents.items()}
        if not any(path.exists() for path in targets):
            break
    for path, text in targets.items():
        write_atomically(path, text.encode())
    return list(targets)
