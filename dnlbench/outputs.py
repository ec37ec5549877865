"""Output files of commands: checked before any work, and never in place of an input."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dnlbench.errors import ConfigurationError
from dnlbench.files import write_atomically


def check_output(path: Path, inputs: Iterable[Path], option: str = "-o") -> None:
    """Check that a file can be written and does not replace an input. Nothing is created.

    Args:
        path: the file for `write_output`.
        inputs: files and folders used by the command, also through links and hard links.
        option: the option that named the file.

    Raises:
        ConfigurationError: with the option, the file and the cause.
    """
    for used in inputs:
        if is_same_file(path, used) or real_path(path).is_relative_to(real_path(used)):
            raise ConfigurationError(
                f"{option} {path}: would overwrite {used}, which this command uses; name another file"
            )
    if path.is_dir():
        raise ConfigurationError(f"{option} {path}: is a folder; name a file in it")
    if not _is_stream(path):
        check_folder(real_path(path).parent, f"{option} {path}")


def check_folder(folder: Path, subject: str) -> None:
    """Check that a file can be created in the folder, or in its nearest existing parent.

    Raises:
        ConfigurationError: with the subject (what would be written) and the cause.
    """
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ConfigurationError(f"{subject} cannot be written in {nearest}: {error.strerror}") from error


def write_output(path: Path, content: bytes) -> None:
    """Write a file named by the user. Follow links, and write to pipes and devices such as ``/dev/stdout``."""
    if _is_stream(path):
        path.write_bytes(content)
    else:
        write_atomically(real_path(path), content)


def is_same_file(one: Path, other: Path) -> bool:
    """Return True if two paths lead to the same file, also through links and hard links. The file need not exist."""
    try:
        return one.samefile(other)
    except OSError:
        return real_path(one) == real_path(other)


def real_path(path: Path) -> Path:
    """Return the absolute path with links resolved. A link to itself is kept."""
    return Path(os.path.realpath(path))


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file()  # before links are resolved: the link of a pipe has no real path
