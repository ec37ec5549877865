"""Child processes that exchange JSON lines with their parent: both ends of the pipe.

A child receives messages on standard input and replies on a separate pipe, one JSON object per line. Its output goes to a
log, because libraries and startup hooks may print anything. When its standard input ends, its parent is gone, and the child
exits.

``python -m dnlbench.executor.processes package.module:function`` serves one call; see `call`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Self

from dnlbench.errors import DnlbenchError, EngineError, rebuild
from dnlbench.machine import Slot

TAIL_LINES = 5


def environment_of(slot: Slot) -> Mapping[str, str]:
    """Return the environment that a process needs before it imports torch: the device it sees and the number of threads."""
    threads = str(slot.threads)
    return {
        "CUDA_VISIBLE_DEVICES": slot.device.uuid or str(slot.device.index) if slot.device.kind == "cuda" else "",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


class JsonLinesProcess:
    """A child process, seen from its parent. Leaving the context kills it."""

    def __init__(self, module: str, *arguments: str, slot: Slot, log: int | IO[bytes]) -> None:
        """Start ``python -m module arguments… N``, where ``N`` is the file descriptor for replies."""
        self.replies, theirs = os.pipe()
        """File descriptor for reading replies."""
        try:
            self.process = subprocess.Popen(
                # -P: a file in the current folder must not hide an installed package
                [sys.executable, "-P", "-m", module, *arguments, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(theirs,),
                env={**os.environ, **environment_of(slot)},
                start_new_session=True,  # Ctrl+C in the terminal goes to the parent, which ends the child
            )
        except BaseException:
            os.close(self.replies)
            raise
        finally:
            os.close(theirs)
        self._torn = b""
        self._is_reaped = False

    def send(self, message: Any) -> None:
        """Send a message. A process that has exited does not receive it; its closed pipe reveals that."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> tuple[list[Any], bool]:
        """Wait for data and return the complete messages. The second value is True if the process closed the pipe."""
        content = os.read(self.replies, 1 << 16)
        *lines, self._torn = (self._torn + content).split(b"\n")
        return [json.loads(line) for line in lines], not content

    def messages(self) -> Iterator[Any]:
        closed = False
        while not closed:
            received, closed = self.receive()
            yield from received

    def close_input(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process is running."""
        return self._swept(self.process.poll())

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the process to exit and return its exit code.

        Raises:
            subprocess.TimeoutExpired: if it does not exit in time.
        """
        code = self._swept(self.process.wait(timeout_s))
        assert code is not None
        return code

    def kill(self) -> None:
        """Kill the process and its descendants, including stopped ones."""
        if not self._is_reaped:  # otherwise the process id may have been reused
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # PermissionError: on macOS, for a process that just died
                os.killpg(self.process.pid, signal.SIGKILL)

    def leave(self, patience_s: float | None = None) -> int:
        """Close the pipes, wait for the process to exit, and return its exit code. Kill it after ``patience_s`` seconds."""
        self.close_input()
        os.close(self.replies)
        try:
            return self.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()

    def _swept(self, code: int | None) -> int | None:
        """Kill the descendants of a process that has exited."""
        if code is not None:
            self.kill()
            self._is_reaped = True
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.leave()


class Parent:
    """The process that started this one with `JsonLinesProcess`."""

    def __init__(self, urgent: Callable[[Any], bool] = lambda message: False) -> None:
        """Open the pipe, whose file descriptor is the last argument of this process, and read messages in a thread.

        In that thread, ``urgent`` may handle a message at once. If it returns False, `receive` returns the message.
        """
        descriptor = int(sys.argv.pop())
        os.set_inheritable(descriptor, False)  # child processes do not inherit it
        self._replies = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._urgent = urgent
        threading.Thread(target=self._listen, daemon=True).start()

    def receive(self) -> Any:
        return self._messages.get()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; safe to call from any thread."""
        with self._lock:
            print(json.dumps(message), file=self._replies, flush=True)

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if not self._urgent(message):
                self._messages.put(message)
        os._exit(0)


def error_reply(error: Exception) -> dict[str, dict[str, str]]:
    """Return the message that reports an error."""
    return {"refused": {"type": type(error).__name__, "message": str(error)}}


def error_in(message: Mapping[str, Any]) -> DnlbenchError | None:
    """Return the error that a message reports, if any."""
    error = message.get("refused")
    return rebuild(error["type"], error["message"]) if error else None


def start_server(function: str, slot: Slot, log: IO[bytes]) -> JsonLinesProcess:
    """Start a process that calls ``package.module:function``, which yields the parts of the result."""
    return JsonLinesProcess(__name__, function, slot=slot, log=log)


def call(function: str, request: Mapping[str, Any], slot: Slot) -> Iterator[dict[str, Any]]:
    """Call a function that needs torch in a child process and yield the parts of its result as they arrive.

    The process ends with the last part, or when the iterator is closed.

    Raises:
        DnlbenchError: if the function raises it.
        EngineError: if the process exits before the result is complete.
    """
    with tempfile.TemporaryFile() as log, start_server(function, slot, log) as process:
        process.send(request)
        for part in process.messages():
            if error := error_in(part):
                raise error
            yield part
        code = process.wait()
        if code:
            raise EngineError(f"the process that executes {function} exited with code {code}: {tail(log)}")


def tail(log: IO[bytes]) -> str:
    """Return the last lines that a process printed."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(lines) or "no output"


def _serve() -> None:
    """Serve one call. After a part with the key ``ready``, wait for a message before continuing."""
    parent = Parent()
    module, _, name = sys.argv.pop().partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        for part in function(parent.receive()):
            parent.send(part)
            if "ready" in part:
                parent.receive()
    except DnlbenchError as error:
        parent.send(error_reply(error))
    except Exception as error:
        traceback.print_exc()
        parent.send(error_reply(EngineError(f"{type(error).__name__}: {error}")))


if __name__ == "__main__":
    _serve()
