"""Checkpoints: where a run stood, in files that `dnlbench.store.checkpoint_files` keeps."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dnlbench.store import CheckpointFiles

State = Mapping[str, Any]
"""Tensors, numbers, strings, lists and dicts: what ``weights_only`` reads back."""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self._files = CheckpointFiles(folder)

    def save(self, state: State) -> None:
        """Makes ``state`` the last checkpoint.

        Raises:
            OSError: if it cannot be written, on a full disk for one; the earlier ones are as they were.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        self._files.save(buffer.getvalue())

    def load(self) -> State | None:
        """The last checkpoint that is whole, None if there is none. A damaged file is set aside as ``*.damaged``."""
        for path, content in self._files.read():
            state = unpack(content) if content is not None else None
            if state is not None:
                return state
            self._files.set_aside(path)
        return None

    def look(self) -> State | None:
        """What `load` would give, with nothing moved: for somebody who does not have the run."""
        whole = (unpack(content) for _, content in self._files.read() if content is not None)
        return next((state for state in whole if state is not None), None)

    def keep_last(self) -> None:
        """Removes all but the last checkpoint of a run that has ended, from which it can go on for more epochs."""
        self._files.keep_last()

    def clear(self) -> None:
        """Removes all checkpoints of a run that needs none any more."""
        self._files.clear()


def unpack(content: bytes) -> State | None:
    """The state in a file; None for what is none, such as a pickle that would run code."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return None
    return state if isinstance(state, dict) else None
