"""Cached measurements of this machine, one JSON file for each kind.

The files may be deleted at any time. ``$DNLBENCH_CACHE_DIR`` sets another folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from pydantic import TypeAdapter

from dnlbench.errors import ConfigurationError
from dnlbench.files import write_atomically

LOCK_TIMEOUT_S = 5.0
_CONTENT = TypeAdapter(dict[str, Any])

T = TypeVar("T")


def cache_folder() -> Path:
    """Return ``$DNLBENCH_CACHE_DIR``, or the cache folder of the platform."""
    named = os.environ.get("DNLBENCH_CACHE_DIR")
    return Path(named) if named else user_cache_path("dnlbench")


class CacheFile(Generic[T]):
    """The ``most`` latest values by key, in a field of a JSON file. An unreadable file counts as empty."""

    def __init__(self, path: Path, field: str, of: type[T], *, most: int) -> None:
        self.path = path
        self._field = field
        self._values = TypeAdapter[dict[str, T]](dict[str, of])  # type: ignore[valid-type]
        self._most = most

    def read(self) -> dict[str, T]:
        """Return all values, the latest last."""
        try:
            return self._values.validate_python(_CONTENT.validate_json(self.path.read_bytes()).get(self._field, {}))
        except (OSError, ValueError):
            return {}

    def put(self, key: str, value: T) -> None:
        """Store a value, in place of an earlier one with this key.

        Raises:
            ConfigurationError: if the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
                others = {name: other for name, other in self.read().items() if name != key}
                kept = dict(list({**others, key: value}.items())[-self._most :])
                content = {"schema_": 1, self._field: self._values.dump_python(kept, mode="json")}
                write_atomically(self.path, json.dumps(content, indent=1).encode())
        except (OSError, Timeout) as error:
            raise ConfigurationError(
                f"{self.path}: cannot store the measurement: {error}. Set DNLBENCH_CACHE_DIR to a writable folder"
            ) from error
