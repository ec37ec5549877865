"""Signals to commands that may take hours."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

REQUESTS_TO_END = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Sent by people and by batch systems, the last three before a time limit. SIGQUIT still ends a process at once."""


@contextmanager
def graceful() -> Iterator[None]:
    """Make a command end as by Ctrl+C when asked to, and outlive its terminal: what it prints then goes nowhere."""
    terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]  # none is, once it is closed

    def interrupt(number: int, frame: object) -> NoReturn:
        if number == signal.SIGXCPU:  # the system repeats it every second, and a second interrupt ends a sweep at once
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def fall_silent(number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in terminals:
            os.dup2(nowhere, stream)

    handlers = {**dict.fromkeys(REQUESTS_TO_END, interrupt), signal.SIGHUP: fall_silent}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """End as by Ctrl+C when standard input does, which a parent holds open as long as it lives."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold when Python ends
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
