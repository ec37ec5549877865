"""Which dnlbench ran."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import dnlbench

PACKAGE = Path(dnlbench.__file__).resolve().parent
"""The folder of the whole package, wherever in it this module is."""


class Code(BaseModel):
    """Which dnlbench ran."""

    model_config = ConfigDict(frozen=True)

    version: str
    git: str | None = None
    """Commit of the working tree that dnlbench was imported from; None when it is installed as a package."""
    dirty: bool | None = None
    """Whether that tree had uncommitted changes; None without one."""
    source: str | None = None
    """Hash of the package's Python files as they ran; None in profiles that do not tell."""


def read_code() -> Code:
    """The version of dnlbench and, in a working tree, its commit."""
    commit = _git("rev-parse", "HEAD") if (PACKAGE.parent / ".git").exists() else None
    dirty = bool(_git("status", "--porcelain", "--", str(PACKAGE))) if commit else None
    return Code(version=dnlbench.__version__, git=commit, dirty=dirty, source=source_hash())


def source_hash() -> str:
    """Hash of the package's Python files, by which two states of one version can be told apart."""
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
