"""Checkpoints: where a run stood, in files that `dnlbench.store.checkpoint_files` keeps."""

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
"""Tensors, numbers, strings, lists and dicts: what ``weights_only`` reads back."""


class CheckpointError(Exception):
    """A state that would be lost, since what is written of it cannot be read back."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._files = CheckpointFiles(folder)
        self._is_proven = False
        """Whether a state of this run was found to come back. Others hold the same kinds of values."""

    def save(self, state: State) -> None:
        """Makes ``state`` the last checkpoint.

        Raises:
            OSError: if it cannot be written, on a full disk for one; the earlier ones are as they were.
            CheckpointError: if it could not be read back.
        """
        content = packed(state)
        if not self._is_proven:
            require_readable(content)
            self._is_proven = True
        self._files.save(content)

    def load(self) -> State | None:
        """The last checkpoint that is whole, None if there is none. A damaged file is set aside as ``*.damaged``."""
        for path, content in self._files.read():
            state = unpack(content) if content is not None else None
            if state is not None:
                return state
            self._files.quarantine(path)
        return None

    def look(self) -> State | None:
        """What `load` would give, with nothing moved: for somebody who does not have the run."""
        whole = (unpack(content) for _, content in self._files.read() if content is not None)
        return next((state for state in whole if state is not None), None)

    def keep_last(self) -> None:
        self._files.keep_last()

    def clear(self) -> None:
        self._files.clear()


def packed(state: State) -> bytes:
    """The content of a file with a state."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def unpack(content: bytes) -> State | None:
    """The state in a file; None for what is none, such as a pickle that would run code."""
    try:
        return _loaded(content)
    except _UNREADABLE:
        return None


def require_readable(content: bytes) -> None:
    """Makes sure that `unpack` will give a state.

    Raises:
        CheckpointError: with what is in the way.
    """
    try:
        _loaded(content)
    except _UNREADABLE as error:
        kind = re.search(r"GLOBAL (\S+)", str(error))
        found = f"a {kind[1].removeprefix('__main__.')}" if kind else str(error).splitlines()[0]
        raise CheckpointError(
            f"its state_dict() cannot be read back from a checkpoint, because of {found}: let get_extra_state() return "
            "tensors, numbers, strings, lists and dicts only"
        ) from error


_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError)


def _loaded(content: bytes) -> State | None:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None
