"""The files of a run's checkpoints, whatever is in them, kept so that one is found whole after any crash.

``checkpoint.pt`` is the last one and ``checkpoint.previous.pt`` the one before it. Beside each stands a file with its SHA-256,
since a file with a flipped bit may well be read for good. A file counts if its hash is one of those on record; the order of
writing keeps at least one such file at every moment.
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
    """The checkpoints of one run as bytes."""

    def __init__(self, folder: Path) -> None:
        self._current = folder / "checkpoint.pt"
        self._previous = folder / "checkpoint.previous.pt"

    def save(self, content: bytes) -> None:
        """Makes ``content`` the last checkpoint.

        Raises:
            OSError: if it cannot be written, on a full disk for one; the earlier ones are as they were.
        """
        new = self._current.with_name("checkpoint.new.pt")
        write_atomically(new, content)
        self._put(new, hashlib.sha256(content).hexdigest())

    def adopt(self, path: Path, sha256: str) -> None:
        """Makes a whole file in the same folder, with that hash, the last checkpoint, and the present its time."""
        now = time.time()
        os.utime(path, (now, now))  # by this machine's clock, also where another one keeps the files
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
        """Each file that is there, the last one first, with its content; None for one whose hash is not on record."""
        recorded = self._recorded()
        for path in (self._current, self._previous):
            try:
                content = read_regular(path)
            except FileNotFoundError:
                continue
            yield path, content if hashlib.sha256(content).hexdigest() in recorded else None

    def last(self) -> bytes | None:
        """The last one that is whole, for somebody who does not have the run; None if there is none."""
        return next((content for _, content in self.read() if content is not None), None)

    @property
    def sha256(self) -> str | None:
        """What is on record of the last one; None if nothing is. Tells without reading it whether there is a new one."""
        try:
            return read_regular(_record_of(self._current)).decode(errors="replace").strip()
        except FileNotFoundError:
            return None

    def quarantine(self, path: Path) -> None:
        """Keeps a damaged file out of the way, as ``*.damaged``."""
        path.replace(path.with_name(f"{path.name}.damaged"))

    def _recorded(self) -> set[str]:
        """The hashes on record.

        A save that was cut off between its steps leaves the earlier file under either name, its hash under one of them. A
        worker that ends its run may remove the earlier one while somebody reads.
        """
        hashes = set()
        for path in (self._current, self._previous):
            with suppress(FileNotFoundError):
                hashes.add(read_regular(_record_of(path)).decode(errors="replace").strip())
        return hashes

    def keep_last(self) -> None:
        """Removes all but the last checkpoint of a run that has ended, from which it can go on for more epochs."""
        kept = {self._current, _record_of(self._current)}
        if not self._current.exists():  # its save was cut off, and the run had no need of another one
            kept |= {self._previous, _record_of(self._previous)}
        for path in self._all():
            if path not in kept:
                path.unlink()

    def clear(self) -> None:
        for path in self._all():
            path.unlink()

    def _all(self) -> list[Path]:
        folder = self._current.parent
        return [*folder.glob("checkpoint.*"), *folder.glob(".checkpoint.*.tmp")]  # what a killed save left included


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
