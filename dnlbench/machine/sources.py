"""The user's own code that results depend on: files by their content, installed packages by their version."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from dnlbench.machine.software import package_version


class Sources(BaseModel):
    """What custom networks were made of. Found by the worker that imports them; verified anywhere, without importing."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, str] = {}
    """SHA-256 of each file by its path, relative to the sweep's folder if it is below it. Empty for a file that is gone."""
    packages: dict[str, str] = {}
    """Version of each installed package by its name. Empty for a package that is gone."""
    networks: dict[str, str] = {}
    """Hash of each network's module and of all that it imports, directly or not, by the network's name."""
    python_path: str = ""
    """``PYTHONPATH``, which decides where modules are found."""

    @classmethod
    def read(cls, files: Iterable[str], packages: Iterable[str], folder: Path) -> Sources:
        """The state of these files and packages now; relative paths start from ``folder``."""
        return cls(
            files={file: _file_hash(folder / file) for file in sorted(files)},
            packages={package: package_version(package) for package in sorted(packages)},
            python_path=os.environ.get("PYTHONPATH", ""),
        )

    def joined(self, other: Sources) -> Sources:
        """Both; the other one's state where they share a file or a package."""
        tables = ("files", "packages", "networks")
        return other.model_copy(update={name: {**getattr(self, name), **getattr(other, name)} for name in tables})

    def changes(self, folder: Path) -> tuple[str, ...]:
        """What is no longer as recorded: ``blocks.py``, ``timm (1.0 before, now 1.1)``, ``PYTHONPATH``."""
        if not self.networks:
            return ()
        now = Sources.read(self.files, self.packages, folder)
        path = ["PYTHONPATH"] if self.python_path != now.python_path else []
        return (*self.differences(now), *path)

    def differences(self, other: Sources) -> tuple[str, ...]:
        """What both have, but not in the same state."""
        changed = tuple(self._changed_parts(other))
        networks = [name for name, sha256 in self.networks.items() if other.networks.get(name, sha256) != sha256]
        return changed or tuple(f"what {name} imports" for name in networks)

    def _changed_parts(self, other: Sources) -> Iterator[str]:
        for file, sha256 in self.files.items():
            if other.files.get(file, sha256) != sha256:
                yield file
        for package, version in self.packages.items():
            found = other.packages.get(package, version)
            if found != version:
                yield f"{package} ({version or 'absent'} before, now {found or 'absent'})"


def _file_hash(path: Path) -> str:
    try:
        state = path.stat()
        return _hash(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1024)
def _hash(path: Path, *state: int) -> str:
    """Read once for each state of the file: a network's weights may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
