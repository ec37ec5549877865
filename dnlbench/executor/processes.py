"""Child processes that speak JSON lines: both ends of the pipe.

A child hears messages on standard input and replies on a pipe of its own, each message one JSON object a line. What it prints
goes to a log: libraries, and whatever an environment executes when Python starts, may print anything. When its standard input
ends its parent is gone, and it leaves at once.

``python -m dnlbench.executor.processes package.module:function`` answers one question, see `call`.
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
    """What has to be set before a process imports torch: the one device it sees, and the threads of its libraries."""
    threads = str(slot.threads)
    return {
        "CUDA_VISIBLE_DEVICES": slot.device.uuid or str(slot.device.index) if slot.device.kind == "cuda" else "",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


class JsonLinesProcess:
    """A child process, seen from its parent. As a context manager it is killed at the end."""

    def __init__(self, module: str, *arguments: str, slot: Slot, log: int | IO[bytes]) -> None:
        """Start ``python -m module arguments… N``, where ``N`` is the descriptor for the replies."""
        self.replies, theirs = os.pipe()
        """Descriptor to read replies from."""
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
        self._torn = b""
        self._is_reaped = False

    def send(self, message: Any) -> None:
        """Send a message. A process that is gone does not get it; its closed pipe tells."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def receive(self) -> tuple[list[Any], bool]:
        """Wait for something to come in; the messages that are whole, and whether the process has closed the pipe."""
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
        """End it and the processes it started at once, stopped ones too."""
        if not self._is_reaped:  # else its id may be another process's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter on macOS, of one that just died
                os.killpg(self.process.pid, signal.SIGKILL)

    def leave(self, patience_s: float | None = None) -> int:
        """Close its pipes and wait for its end, by force if it lingers; its exit code."""
        self.close_input()
        os.close(self.replies)
        try:
            return self.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()

    def _swept(self, code: int | None) -> int | None:
        """Once it has ended, end what it started and left behind."""
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
        """Take the pipe, whose descriptor is this process's last argument, and listen in a thread.

        There ``urgent`` handles a message at once; False leaves it to `receive`.
        """
        descriptor = int(sys.argv.pop())
        os.set_inheritable(descriptor, False)  # what this process starts does not get it
        self._replies = os.fdopen(descriptor, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._urgent = urgent
        threading.Thread(target=self._listen, daemon=True).start()

    def receive(self) -> Any:
        return self._messages.get()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; any thread may."""
        with self._lock:
            print(json.dumps(message), file=self._replies, flush=True)

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if not self._urgent(message):
                self._messages.put(message)
        os._exit(0)


def error_reply(error: Exception) -> dict[str, dict[str, str]]:
    """The message that something cannot be done."""
    return {"refused": {"type": type(error).__name__, "message": str(error)}}


def error_in(message: Mapping[str, Any]) -> DnlbenchError | None:
    """The error that a message reports, if it is a refusal."""
    error = message.get("refused")
    return rebuild(error["type"], error["message"]) if error else None


def start_server(function: str, slot: Slot, log: IO[bytes]) -> JsonLinesProcess:
    """A process that answers one question by ``package.module:function``, which yields the parts of the answer."""
    return JsonLinesProcess(__name__, function, slot=slot, log=log)


def call(function: str, request: Mapping[str, Any], slot: Slot) -> Iterator[dict[str, Any]]:
    """Have a child process answer something that only torch knows, and yield the parts of the answer as they come.

    The process is gone when the last part has come, or the iterator is closed.

    Raises:
        DnlbenchError: what the function raises.
        EngineError: if the process ends without having answered.
    """
    with tempfile.TemporaryFile() as log, start_server(function, slot, log) as process:
        process.send(request)
        for part in process.messages():
            if error := error_in(part):
                raise error
            yield part
        code = process.wait()
        if code:
            raise EngineError(f"the process that measures ended with code {code}: {tail(log)}")


def tail(log: IO[bytes]) -> str:
    """The last lines of what a process printed."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(lines) or "it said nothing"


def _serve() -> None:
    """Answer one question. After a part that says ``ready`` the work goes on when it is told to."""
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
