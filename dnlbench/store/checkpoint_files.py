"""Checkpoint files of a run, written so that a valid one exists after any crash.

``checkpoint.pt`` is the latest checkpoint and ``checkpoint.previous.pt`` the one before it. Each has a file with its
SHA-256, because torch may load a file with a flipped bit without an error. A file is valid if its hash is one of the
recorded ones. The order of writes keeps at least one valid file at any time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dnlbench.files import read_regular, write_atomically


class CheckpointFiles:
    """The checkpoints of one run, as bytes."""

    def __init__(self, folder: Path) -> None:
        self._current = folder / "checkpoint.pt"
        self._previous = folder / "checkpoint.previous.pt"

    def save(self, content: bytes) -> None:
        """Save ``content`` as the latest checkpoint.

        Raises:
            OSError: if writing fails, for example on a full disk. The earlier checkpoints are unchanged.
        """
        new = self._current.with_name("checkpoint.new.pt")
        write_atomically(new, content)
        self._put(new, hashlib.sha256(content).hexdigest())

    def adopt(self, path: Path, sha256: str) -> None:
        """Make a complete file in the same folder, with the given hash, the latest checkpoint, and set its time to now."""
        now = time.time()
        os.utime(path, (now, now))  # this machine's clock, even if another machine stores the files
        self._put(path, sha256)

    def _put(self, new: Path, sha256: str) -> None:
        if self._current.exists():
            recorded = _record_of(self._current)
            if recorded.exists():
                write_atomically(_record_of(self._previous), read_regular(recorded))
            self._current.replace(self._previous)
        write_atomically(_record_of(self._current), sha256.encode())
        new.replace(self._current)

    def read(self) -> Iterator[tuple[Path, bytes | None]]:
        """Yield each existing file, the latest first, with its content; None if its hash is not recorded."""
        recorded = self._recorded()
        for path in (self._current, self._previous):
            try:
                content = read_regular(path)
            except FileNotFoundError:
                continue
            yield path, content if hashlib.sha256(content).hexdigest() in recorded else None

    def last(self) -> bytes | None:
        """Return the latest valid checkpoint, for a process that does not execute the run; None if there is none."""
        return next((content for _, content in self.read() if content is not None), None)

    @property
    def sha256(self) -> str | None:
        """The recorded hash of the latest checkpoint; None if there is none. It reveals a new checkpoint without reading it."""
        try:
            return read_regular(_record_of(self._current)).decode(errors="replace").strip()
        except FileNotFoundError:
            return None

    def quarantine(self, path: Path) -> None:
        """Rename a damaged file to ``*.damaged``."""
        path.replace(path.with_name(f"{path.name}.damaged"))

    def _recorded(self) -> set[str]:
        """Return the recorded hashes.

        An interrupted save leaves the earlier file under either name, with its hash under one of them. A worker that ends
        its run may delete the earlier checkpoint at the same time.
        """
        hashes = set()
        for path in (self._current, self._previous):
            with suppress(FileNotFoundError):
                hashes.add(read_regular(_record_of(path)).decode(errors="replace").strip())
        return hashes

    def keep_last(self) -> None:
        """Delete all but the latest checkpoint of a run that has ended, from which the run can be extended by more epochs."""
        kept = {self._current, _record_of(self._current)}
        if not self._current.exists():  # the last save was interrupted, and the run ended without another one
            kept |= {self._previous, _record_of(self._previous)}
        for path in self._all():
            if path not in kept:
                path.unlink()

    def clear(self) -> None:
        for path in self._all():
            path.unlink()

    def _all(self) -> list[Path]:
        folder = self._current.parent
        return [
            *folder.glob("checkpoint.*"),
            *folder.glob(".checkpoint.*.tmp"),
        ]  # including temporary files of interrupted saves


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
