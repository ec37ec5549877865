"""The code that ran: dnlbench itself, and the user's code that results depend on."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import dnlbench
from dnlbench.machine.environment import package_version

PACKAGE = Path(dnlbench.__file__).resolve().parent
"""The package's folder."""


class Code(BaseModel):
    """The version of dnlbench that ran."""

    model_config = ConfigDict(frozen=True)

    version: str
    git: str | None = None
    """Commit of the working tree from which dnlbench was imported; None if it is installed as a package."""
    dirty: bool | None = None
    """True if that tree had uncommitted changes; None without a working tree."""
    source: str | None = None
    """Hash of the package's Python files; None in profiles that do not record it."""


def read_code() -> Code:
    """Read the version of dnlbench and, in a working tree, its commit."""
    commit = _git("rev-parse", "HEAD") if (PACKAGE.parent / ".git").exists() else None
    dirty = bool(_git("status", "--porcelain", "--", str(PACKAGE))) if commit else None
    return Code(version=dnlbench.__version__, git=commit, dirty=dirty, source=source_hash())


def source_hash() -> str:
    """Hash the package's Python files. Different states of one version have different hashes."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class Sources(BaseModel):
    """The code of custom networks and other parts. The worker that imports it records it; any process can verify it."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, str] = {}
    """SHA-256 of each file by path, relative to the sweep's folder if the file is inside it. Empty for a deleted file."""
    packages: dict[str, str] = {}
    """Version of each installed package by name. Empty for a removed package."""
    networks: dict[str, str] = {}
    """Hash of the module of each custom part and of everything it imports, directly or indirectly, by the part's name,
    ``module:object``."""
    python_path: str = ""
    """``PYTHONPATH``, which determines where modules are found."""

    @classmethod
    def read(cls, files: Iterable[str], packages: Iterable[str], folder: Path) -> Sources:
        return cls(
            files={file: _file_hash(folder / file) for file in sorted(files)},
            packages={package: package_version(package) for package in sorted(packages)},
            python_path=os.environ.get("PYTHONPATH", ""),
        )

    def joined(self, other: Sources) -> Sources:
        """Merge both records. The other record takes precedence."""
        tables = ("files", "packages", "networks")
        return other.model_copy(update={name: {**getattr(self, name), **getattr(other, name)} for name in tables})

    def changes(self, folder: Path) -> tuple[str, ...]:
        """Return what differs from the record: ``blocks.py``, ``timm (1.0 before, now 1.1)``, ``PYTHONPATH``."""
        if not self.networks:
            return ()
        now = Sources.read(self.files, self.packages, folder)
        path = ["PYTHONPATH"] if self.python_path != now.python_path else []
        return (*self.differences(now), *path)

    def differences(self, other: Sources) -> tuple[str, ...]:
        """Return what both records contain in different states."""
        changed = tuple(self._changed_parts(other))
        networks = [name for name, sha256 in self.networks.items() if other.networks.get(name, sha256) != sha256]
        return changed or tuple(f"what {name} imports" for name in networks)

    def _changed_parts(self, other: Sources) -> Iterator[str]:
        for file, sha256 in self.files.items():
            if other.files.get(file, sha256) != sha256:
                yield file
        for package, version in self.packages.items():
            current = other.packages.get(package, version)
            if current != version:
                yield f"{package} ({version or 'absent'} before, now {current or 'absent'})"


def _file_hash(path: Path) -> str:
    try:
        state = path.stat()
        return _hash(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1024)
def _hash(path: Path, *state: int) -> str:
    """Hash a file once for each state, because a network's weights may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
