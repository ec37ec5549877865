"""Crash-safe files: atomic replacement, and line files whose torn last line is detected and repaired."""

from __future__ import annotations

import codecs
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeAlias


def is_disk_full(error: BaseException) -> bool:
    """Return True if a file could not be written because the disk or the quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_text(path: Path) -> str:
    """Read the UTF-8 text of a user's file, with or without a byte order mark, with the line breaks of any system.

    Raises:
        OSError: if the file cannot be read.
        UnicodeError: if the file has another encoding.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise UnicodeError("not UTF-8 text but probably UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnicodeError(
            f"not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}; save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file atomically: readers see either the old or the new content, also after a crash.

    A link is replaced, not its target, so that a link in a run directory cannot redirect a write. In contrast,
    `dnlbench.outputs.write_output` follows links.

    Raises:
        OSError: if the file cannot be written. The error names the file, not the temporary one.
    """
    with _temporary(path, content) as temporary:
        temporary.replace(path)


def write_new(candidates: Iterable[Path], content: bytes) -> Path:
    """Write a new file under the first free path, and never replace a file. All paths must be in one folder.

    Concurrent processes get different paths.

    Returns:
        The path of the new file.
    """
    candidates = iter(candidates)
    first = next(candidates)
    with _temporary(first, content) as temporary:
        return next(path for path in chain([first], candidates) if _take(path, temporary))


def _take(path: Path, temporary: Path) -> bool:
    """Move a file to a path, unless the path exists."""
    try:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # the file system has no hard links: reserve the path, then replace it
            path.touch(exist_ok=False)
            temporary.replace(path)
    except FileExistsError:
        return False
    return True


@contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """Create a durable temporary file with this content beside ``path``."""
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}."[:100], suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name ``path`` in errors, instead of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder to fill, and move it to ``path`` at the end. After an error nothing remains.

    Raises:
        FileExistsError: if ``path`` is a file, or a folder that is not empty.
    """
    path = path.resolve()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, "already exists; name a new or empty folder", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Some systems cannot open folders; there it does nothing."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, most_bytes: int | None = None) -> bytes:
    """Read a regular file, also through links. Pipes and devices, which may block or never end, are refused.

    Raises:
        OSError: if the file cannot be read, is not a regular file, or is larger than ``most_bytes``.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"larger than {most_bytes} bytes", str(path))
        return file.read(most_bytes)


Stamp: TypeAlias = tuple[int, int]
"""Time of the last change of a file, and its size."""


def file_stamp(path: Path) -> Stamp | None:
    """Return a stamp that changes when the file is written; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def read_lines(path: Path) -> list[bytes]:
    """Return the complete lines of a file; none if there is no file. A last line without line break is left out."""
    return LineFollower(path).read()


class LineFollower:
    """Read the lines that were appended to a file since the last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.passed = 0
        """Number of lines before those of the last read."""
        self._read = 0

    def read(self) -> list[bytes]:
        """Return new complete lines, without line breaks. An incomplete line is left for the next read."""
        self.passed = self._read
        try:
            if (
                self._path.stat().st_size <= self._offset
            ):  # most files have nothing new, and opening all of them is slow
                return []
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        lines = complete.splitlines()
        self._read += len(lines)
        return lines


class LineWriter:
    """Append lines, each with a single write: readers see complete lines, and a crash can tear only the last one.

    The path must be a regular file. Links are not followed, and pipes are refused.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            self._repair()
        except BaseException:
            self.close()
            raise

    def _repair(self) -> None:
        """Truncate a torn last line, which would corrupt the next one."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.truncate(self._file, os.pread(self._file, size, 0).rfind(b"\n") + 1)

    def write(self, line: str, *, durable: bool = False) -> None:
        """Append a line. A ``durable`` line is on the disk when this returns."""
        self.write_all([line], durable=durable)

    def write_all(self, lines: Iterable[str], *, durable: bool = False) -> None:
        """Append all lines or none."""
        content, before = "".join(f"{line}\n" for line in lines).encode(), os.fstat(self._file).st_size
        try:
            if os.write(self._file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.truncate(self._file, before)  # an incomplete line would corrupt the next one
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
