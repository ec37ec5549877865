"""Checkpoints: the training state of a run, in files managed by `dnlbench.store.checkpoint_files`."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dnlbench.store import CheckpointFiles

State = Mapping[str, Any]
"""Tensors, numbers, strings, lists and dicts: the types that `torch.load` reads with ``weights_only``."""


class CheckpointError(Exception):
    """A state that cannot be read back from a checkpoint."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._files = CheckpointFiles(folder)
        self._is_verified = False
        """A state of this run has been read back. Later states contain the same types of values."""

    def save(self, state: State) -> None:
        """Save ``state`` as the last checkpoint.

        Raises:
            OSError: if it cannot be written, for example because the disk is full. Earlier checkpoints stay unchanged.
            CheckpointError: if it could not be read back.
        """
        content = packed(state)
        if not self._is_verified:
            require_readable(content)
            self._is_verified = True
        self._files.save(content)

    def load(self) -> State | None:
        """Return the last intact checkpoint, or None. Damaged files are renamed to ``*.damaged``."""
        for path, content in self._files.read():
            state = unpack(content) if content is not None else None
            if state is not None:
                return state
            self._files.quarantine(path)
        return None

    def peek(self) -> State | None:
        """Return the result of `load` without renaming files, for readers other than the run's worker."""
        states = (unpack(content) for _, content in self._files.read() if content is not None)
        return next((state for state in states if state is not None), None)

    def keep_last(self) -> None:
        self._files.keep_last()

    def clear(self) -> None:
        self._files.clear()


def packed(state: State) -> bytes:
    """Serialize a state."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def unpack(content: bytes) -> State | None:
    """Read a state; None if the content is not one, such as a pickle that would run code."""
    try:
        return _loaded(content)
    except _UNREADABLE:
        return None


def require_readable(content: bytes) -> None:
    """Check that `unpack` can read the content.

    Raises:
        CheckpointError: if it cannot; the message names the unsupported type.
    """
    try:
        _loaded(content)
    except _UNREADABLE as error:
        kind = re.search(r"GLOBAL (\S+)", str(error))
        cause = f"a {kind[1].removeprefix('__main__.')}" if kind else str(error).splitlines()[0]
        raise CheckpointError(
            f"its state_dict() cannot be read back from a checkpoint because of {cause}; get_extra_state() must return only "
            "tensors, numbers, strings, lists and dicts"
        ) from error


_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError)


def _loaded(content: bytes) -> State | None:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None
