"""Files that a screen leaves in the current folder."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from dnlbench.files import write_atomically


def export(name: str, suffix: str, text: str, folder: Path = Path()) -> Path:
    """Writes ``name.suffix``, with a number where there is one already: nothing is ever overwritten."""
    names = (f"{name}.{suffix}" if number == 1 else f"{name}-{number}.{suffix}" for number in count(1))
    path = next(path for path in (folder / each for each in names) if not path.exists())
    write_atomically(path, text.encode())
    return path
