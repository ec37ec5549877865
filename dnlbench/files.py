"""Files that survive being cut off: whole-file replacement, and files of lines whose torn end is noticed and mended."""

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
    """Whether a file could not be written for want of room: the disk's, or the user's share of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_text(path: Path) -> str:
    """The UTF-8 text of a file that a user wrote, with or without a byte order mark, with line breaks of any system.

    Raises:
        OSError: if it cannot be read.
        UnicodeError: if it has another encoding, with what to do.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise UnicodeError("not UTF-8 text but, by its bytes, UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnicodeError(
            f"not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}; save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that any reader, at any moment and after any crash, finds the old content or the new one whole.

    A link is replaced itself, never its target: nobody who can plant links in a run directory can redirect a write.
    `dnlbench.outputs.write_output` follows the links of files that the user names.

    Raises:
        OSError: if the file cannot be written, with its name and not the temporary file's.
    """
    with _temporary(path, content) as temporary:
        temporary.replace(path)


def write_new(candidates: Iterable[Path], content: bytes) -> Path:
    """Write a new file under the first free name, all in one folder, and never replace a file.

    Processes that race for a name get one each.

    Returns:
        The name that was free.
    """
    candidates = iter(candidates)
    first = next(candidates)
    with _temporary(first, content) as temporary:
        return next(path for path in chain([first], candidates) if _take(path, temporary))


def _take(path: Path, temporary: Path) -> bool:
    """Move a whole file to a name, unless the name is taken."""
    try:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: reserve the name, then fill it
            path.touch(exist_ok=False)
            temporary.replace(path)
    except FileExistsError:
        return False
    return True


@contextmanager
def _temporary(path: Path, content: bytes) -> Iterator[Path]:
    """A file with this content beside ``path``, durable, for the caller to move there."""
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
    """Name the file that was to be written in errors, instead of a temporary file or none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which is at ``path`` when everything is in it; after an error there is nothing.

    Raises:
        FileExistsError: if there is a file, or a folder with something in it.
    """
    path = path.resolve()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, "is there already; name a folder that is new or empty", str(path))
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
    """Makes a rename last through a power cut. Not every system lets a folder be opened; there it has to do without."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, most_bytes: int | None = None) -> bytes:
    """The content of a file that is one, also at the end of links: reading it neither waits nor goes on for ever.

    Raises:
        OSError: if it cannot be read, is a pipe, a device or a folder, or is larger than ``most_bytes``.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(errno.EFBIG, f"larger than {most_bytes} bytes", str(path))
        return file.read(most_bytes)


Stamp: TypeAlias = tuple[int, int]
"""Time of a file's last change, and its size."""


def file_stamp(path: Path) -> Stamp | None:
    """Differs where a file was written to since; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def read_lines(path: Path) -> list[bytes]:
    """The whole lines of a file, none if there is no file. A last line without its line break is torn and left out."""
    return LineFollower(path).read()


class LineFollower:
    """Reads the lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.passed = 0
        """Lines that were read before the last look."""
        self._read = 0

    def read(self) -> list[bytes]:
        """New whole lines, without their line breaks; what follows the last line break waits for the next look."""
        self.passed = self._read
        try:
            if self._path.stat().st_size <= self._offset:  # most have nothing new, and to open them all would take long
                return []
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.splitlines()
        self._read += len(lines)
        return lines


class LineWriter:
    """Appends lines, each with one write, so that a reader sees whole lines and a crash can tear the last one only.

    What stands at the path has to be a file: a link that was planted there is not followed, and a pipe not waited for.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            self._mend()
        except BaseException:
            self.close()
            raise

    def _mend(self) -> None:
        """Cuts off a torn last line, which would otherwise swallow the next one."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.truncate(self._file, os.pread(self._file, size, 0).rfind(b"\n") + 1)

    def write(self, line: str, *, durable: bool = False) -> None:
        """Adds one line; a ``durable`` one is on the disk when this returns."""
        self.write_all([line], durable=durable)

    def write_all(self, lines: Iterable[str], *, durable: bool = False) -> None:
        """Adds lines, all of them or none."""
        content, before = "".join(f"{line}\n" for line in lines).encode(), os.fstat(self._file).st_size
        try:
            if os.write(self._file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.truncate(self._file, before)  # half a line would spoil the next one
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        """Ends the writing. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
