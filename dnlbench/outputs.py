"""Files that a command writes where the user says: checked before any work, and never in the place of an input."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dnlbench.errors import ConfigurationError
from dnlbench.files import write_atomically


def check_output(path: Path, inputs: Iterable[Path], option: str = "-o") -> None:
    """Refuse a file that cannot be written, or that would replace an input. Nothing is created.

    Args:
        path: the file to be written later, with `write_output`.
        inputs: files and folders that the command uses. Links and hard links to them count too.
        option: the option that named the file.

    Raises:
        ConfigurationError: with the option, the file and the cause.
    """
    for each in inputs:
        if is_same_file(path, each) or real_path(path).is_relative_to(real_path(each)):
            raise ConfigurationError(
                f"{option} {path}: would overwrite {each}, which this command uses; name another file"
            )
    if path.is_dir():
        raise ConfigurationError(f"{option} {path}: is a folder; name a file in it")
    if not _is_stream(path):
        check_folder(real_path(path).parent, f"{option} {path}")


def check_folder(folder: Path, subject: str) -> None:
    """Try to create a file in the folder, or in the nearest one above it that exists.

    Raises:
        ConfigurationError: with the subject, which is to be written there, and the cause.
    """
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ConfigurationError(f"{subject} cannot be written in {nearest}: {error.strerror}") from error


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the user named. A link's target is replaced, a pipe or a device such as ``/dev/stdout`` written to."""
    if _is_stream(path):
        path.write_bytes(content)
    else:
        write_atomically(real_path(path), content)


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, also through links and hard links, and also to one that is still to come."""
    try:
        return one.samefile(other)
    except OSError:
        return real_path(one) == real_path(other)


def real_path(path: Path) -> Path:
    """The absolute path without links; a link that leads to itself stays as it is."""
    return Path(os.path.realpath(path))


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file()  # before links are followed: that of a pipe leads to no path
