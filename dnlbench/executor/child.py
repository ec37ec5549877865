"""A child process that may import torch; `dnlbench.runners.answering` has what its side needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

from dnlbench.machine import Slot


def environment_of(slot: Slot) -> Mapping[str, str]:
    """What has to be set before a process imports torch: the one device it sees, and the threads of its libraries."""
    threads = str(slot.threads)
    return {
        "CUDA_VISIBLE_DEVICES": slot.device.uuid or str(slot.device.index) if slot.device.kind == "cuda" else "",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


class Child:
    """A process that hears JSON lines on standard input and replies on a pipe of its own.

    What it prints goes to a log: libraries, and whatever an environment executes when Python starts, may print anything.
    """

    def __init__(self, module: str, *arguments: str, slot: Slot, log: int | IO[bytes]) -> None:
        """Starts ``python -m module arguments… N``, where ``N`` is the descriptor for its replies."""
        self.replies, theirs = os.pipe()
        """Descriptor to read its replies from; the owner closes it."""
        try:
            self.process = subprocess.Popen(
                # -P: a file in the current folder must not hide an installed package
                [sys.executable, "-P", "-m", module, *arguments, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(theirs,),
                env={**os.environ, **environment_of(slot)},
                start_new_session=True,  # Ctrl+C in the terminal is for the parent, which ends it itself
            )
        except BaseException:
            os.close(self.replies)
            raise
        finally:
            os.close(theirs)
        self._is_reaped = False

    def send(self, message: Any) -> None:
        """Sends a JSON line. A process that is gone does not get it; its closed pipe tells."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def close_input(self) -> None:
        """Tells it to leave."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def poll(self) -> int | None:
        """Its exit code, None while it lives."""
        return self._swept(self.process.poll())

    def wait(self, timeout_s: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: if that takes longer.
        """
        code = self._swept(self.process.wait(timeout_s))
        assert code is not None
        return code

    def kill(self) -> None:
        """Ends it and the processes it started at once, stopped ones too."""
        if not self._is_reaped:  # else its id may be another process's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of one that just died
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kills it and closes its pipes."""
        self.kill()
        self.wait()
        self.close_input()
        os.close(self.replies)

    def _swept(self, code: int | None) -> int | None:
        """Once it has ended, ends what it started and left behind."""
        if code is not None:
            self.kill()
            self._is_reaped = True
        return code
