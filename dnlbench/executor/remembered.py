"""Measurements that a machine's user need not wait for twice.

They are in ``measured.json`` in the platform's folder for caches; ``$DNLBENCH_CACHE_DIR`` names another folder. The file may
be deleted at any time: what is needed of it is measured again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.files import write_atomically

MOST = 500
"""Entries; the oldest go first."""
LOCK_PATIENCE_S = 5.0


class Choice(BaseModel):
    """A way to carry out a sweep."""

    model_config = ConfigDict(frozen=True)

    jobs: int
    threads: int
    """Of each job."""
    pack_size: int


class Figure(Choice):
    """What was measured of a way to carry it out."""

    samples_per_s: float
    """Of all jobs together."""


class Measured(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)

    choice: Choice
    figures: tuple[Figure, ...] = ()


class _File(BaseModel):
    schema_: int = 1
    measured: dict[str, Measured] = {}


def cache_folder() -> Path:
    """``$DNLBENCH_CACHE_DIR``, or the platform's place for caches."""
    named = os.environ.get("DNLBENCH_CACHE_DIR")
    return Path(named) if named else user_cache_path("dnlbench")


class Remembered:
    """The file. One that cannot be read is as good as none."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "measured.json"

    def get(self, key: str) -> Measured | None:
        """What is remembered under a key."""
        return self._read().get(key)

    def put(self, answer: Measured, *keys: str) -> bool:
        """Remembers it under several keys, and says whether that was possible."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_PATIENCE_S):
                known = {**self._read(), **dict.fromkeys(keys, answer)}
                kept = dict(list(known.items())[-MOST:])
                write_atomically(self.path, _File(measured=kept).model_dump_json(indent=1).encode())
        except (OSError, Timeout):
            return False
        return True

    def can_be_written(self) -> bool:
        """Whether it makes sense to measure something in order to remember it."""
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        return os.access(self.path.parent, os.W_OK)

    def _read(self) -> dict[str, Measured]:
        try:
            return _File.model_validate(json.loads(self.path.read_bytes())).measured
        except (OSError, ValueError, ValidationError, RecursionError):
            return {}
