"""``engine.lock`` and ``engine.pid``, which allow a run directory only one engine at a time.

The lock is held on the open file, so the system releases it however the engine ends. If a user or a cleanup job deletes the
file, the lock has no effect any more; then ``engine.pid`` decides. An engine also notices if another one has taken over.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from dnlbench.errors import RunDirError, RunDirLostError
from dnlbench.files import read_regular, write_atomically

LOCK_TIMEOUT_S = 1.0
"""Time for which an engine waits for the lock, since a process that checks for an engine holds it for a moment."""
POLL_S = 0.05


class EngineLock:
    """The lock of one run directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path, self._pid_path = (root.absolute() / name for name in ("engine.lock", "engine.pid"))
        self._file: int | None = None
        self._folder: int | None = None
        """Open descriptor of the run directory, which stays valid if the directory is renamed."""

    def acquire(self) -> None:
        """Make this process the directory's only engine.

        Raises:
            RunDirError: if another engine is running, with its process id, or if the file cannot be created.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while not self._try_lock():
                if time.monotonic() > deadline:
                    raise self._in_use(self._written_pid() or "unknown")
                time.sleep(POLL_S)
            pid = self._written_pid()
            if pid is not None and self._is_engine(pid):
                raise self._in_use(pid)
            write_atomically(self._pid_path, f"{os.getpid()}\n".encode())
            self._folder = os.open(self._root, os.O_RDONLY)
        except OSError as error:
            self._close()
            why = (error.strerror or str(error)).lower()
            raise RunDirError(
                f"Could not lock {self._root / self._path.name}: {why}. Choose another --run-dir."
            ) from error
        except RunDirError:
            self._close()
            raise

    def release(self) -> None:
        """Release the lock, unless another engine has taken over."""
        if self.is_ours:
            self._pid_path.unlink(missing_ok=True)
        self._close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def check(self) -> None:
        """Check that the directory still belongs to this engine, and lock it again if only the files were deleted.

        Raises:
            RunDirLostError: if it was deleted, renamed or taken over by another engine.
        """
        pid = self._written_pid()
        if pid not in (None, str(os.getpid())):
            raise RunDirLostError(
                f"{self._root}: another engine, process {pid}, took over this directory after the lock was removed. "
                "This engine has stopped; follow the other one with dnlbench attach."
            )
        if pid is None:
            self._require_folder()
        if not self._is_held():
            with suppress(OSError):
                self._try_lock()
        if pid is None:
            with suppress(OSError):
                write_atomically(self._pid_path, f"{os.getpid()}\n".encode())

    def holder(self) -> str | None:
        """Return the process id of the running engine, ``unknown`` if it is not written yet, or None if there is no engine."""
        if self._path.exists():
            try:
                if not self._try_lock():
                    return self._written_pid() or "unknown"
            except PermissionError:
                # Another user's lock, which this process cannot try. An engine deletes its other file when it ends.
                return self._written_pid()
            finally:
                self._close()
        pid = self._written_pid()
        return pid if pid is not None and self._is_engine(pid) else None

    @property
    def is_ours(self) -> bool:
        """True if ``engine.pid`` contains the id of this process."""
        return self._written_pid() == str(os.getpid())

    def _try_lock(self) -> bool:
        """Lock the file and return True on success. A file that was deleted in the meantime does not count."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            raise
        self._close()
        self._file = file
        return self._is_held()

    def _is_held(self) -> bool:
        return self._file is not None and _is_at(self._file, self._path)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _written_pid(self) -> str | None:
        try:
            return read_regular(self._pid_path).decode(errors="replace").strip() or None
        except OSError:
            return None

    def _is_engine(self, pid: str) -> bool:
        """Return True if the process is running and has this directory's journal open."""
        journal = self._path.parent.resolve() / "journal.jsonl"
        with suppress(ValueError, psutil.Error, OSError):
            return any(Path(file.path) == journal for file in psutil.Process(int(pid)).open_files())
        return False

    def _in_use(self, pid: str) -> RunDirError:
        return RunDirError(
            f"{self._root}: in use by another engine, process {pid}. Wait for it, or choose another --run-dir"
        )

    def _require_folder(self) -> None:
        if self._folder is None or _is_at(self._folder, self._path.parent):
            return
        now = _path_of(self._folder)
        if now is None:
            raise RunDirLostError(f"The run directory {self._root} was removed while the sweep was running.")
        raise RunDirLostError(
            f"The run directory {self._root} was renamed to {now} while the sweep was running. Its results are there: run the "
            f"same command with --resume --run-dir {now}"
        )


def _is_at(descriptor: int, path: Path) -> bool:
    """Return True if an open file is the one at the path."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _path_of(folder: int) -> Path | None:
    """Return the current path of an open folder; None if it was deleted, or if the system does not report the path."""
    with suppress(OSError):
        path = Path(f"/proc/self/fd/{folder}").readlink()
        return path if _is_at(folder, path) else None
    return None
