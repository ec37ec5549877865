"""Signal handling of commands that may run for hours."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

REQUESTS_TO_END = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals of users and batch systems that interrupt a sweep. SIGQUIT still terminates a process immediately."""


@contextmanager
def graceful() -> Iterator[None]:
    """Treat ``REQUESTS_TO_END`` like Ctrl+C, and keep running without output after the terminal is closed."""
    terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]  # a closed terminal is not a terminal any more

    def interrupt(number: int, frame: object) -> NoReturn:
        if number == signal.SIGXCPU:  # the kernel repeats it every second; a second interrupt would abort the sweep
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def discard_output(number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in terminals:
            os.dup2(nowhere, stream)

    handlers = {**dict.fromkeys(REQUESTS_TO_END, interrupt), signal.SIGHUP: discard_output}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Interrupt this process when standard input closes, which the parent process keeps open while it lives."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: a thread must not hold its lock when Python exits
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
