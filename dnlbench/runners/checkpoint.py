"""Checkpoints: where a run stood, kept so that it is found whole after any crash.

``checkpoint.pt`` is the last one and ``checkpoint.previous.pt`` the one before it. Beside each stands a file with its SHA-256,
since `torch.load` takes a file with a flipped bit for good. A file counts if its hash is one of those on record; the order of
writing keeps at least one such file at every moment.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from dnlbench.files import write_atomically

State = Mapping[str, Any]
"""Tensors, numbers, strings, lists and dicts: what ``weights_only`` reads back."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._current = folder / "checkpoint.pt"
        self._previous = folder / "checkpoint.previous.pt"

    def save(self, state: State) -> None:
        """Makes ``state`` the last checkpoint.

        Raises:
            OSError: if it cannot be written, on a full disk for one; the earlier ones are as they were.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        new = self._current.with_name("checkpoint.new.pt")
        write_atomically(new, content)
        if self._current.exists():
            recorded = _record_of(self._current)
            if recorded.exists():
                write_atomically(_record_of(self._previous), recorded.read_bytes())
            self._current.replace(self._previous)
        write_atomically(_record_of(self._current), hashlib.sha256(content).hexdigest().encode())
        new.replace(self._current)

    def load(self) -> State | None:
        """The last checkpoint that is whole, None if there is none. A damaged file is set aside as ``*.damaged``."""
        recorded = self._recorded()
        for path in self._there():
            state = _whole(path, recorded)
            if state is not None:
                return state
            path.replace(path.with_name(f"{path.name}.damaged"))
        return None

    def look(self) -> State | None:
        """What `load` would give, with nothing moved: for somebody who does not have the run."""
        recorded = self._recorded()
        return next((state for path in self._there() if (state := _whole(path, recorded)) is not None), None)

    def _there(self) -> list[Path]:
        return [path for path in (self._current, self._previous) if path.exists()]

    def _recorded(self) -> set[str]:
        """The hashes on record.

        A save that was cut off between its steps leaves the earlier file under either name, its hash under one of them.
        """
        return {
            path.read_text(errors="replace").strip()
            for path in map(_record_of, (self._current, self._previous))
            if path.exists()
        }

    def keep_last(self) -> None:
        """Removes all but the last checkpoint of a run that has ended, from which it can go on for more epochs."""
        kept = {self._current, _record_of(self._current)}
        if not self._current.exists():  # its save was cut off, and the run had no need of another one
            kept |= {self._previous, _record_of(self._previous)}
        for path in self._all():
            if path not in kept:
                path.unlink()

    def clear(self) -> None:
        """Removes all checkpoints of a run that needs none any more."""
        for path in self._all():
            path.unlink()

    def _all(self) -> list[Path]:
        folder = self._current.parent
        return [*folder.glob("checkpoint.*"), *folder.glob(".checkpoint.*.tmp")]  # what a killed save left included


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _whole(path: Path, recorded: Set[str]) -> State | None:
    """The state in a file whose hash is on record; None for any other."""
    content = path.read_bytes()
    return unpack(content) if hashlib.sha256(content).hexdigest() in recorded else None


def unpack(content: bytes) -> State | None:
    """The state in a file; None for what is none, such as a pickle that would run code."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return None
    return state if isinstance(state, dict) else None
