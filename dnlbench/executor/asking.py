"""Asking a child process something that only torch knows; `dnlbench.runners.answering` is the other side."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from dnlbench.errors import EngineError, rebuild
from dnlbench.executor.child import Child
from dnlbench.machine import Slot

TAIL_LINES = 5


def ask(module: str, question: Mapping[str, Any], slot: Slot) -> Iterator[dict[str, Any]]:
    """The parts of the answer, as they come. The process is gone when the last one has come, or the iterator is closed.

    Args:
        module: run as a process of its own.
        question: plain data.
        slot: where it may compute.

    Raises:
        DnlbenchError: what the process refuses with.
        EngineError: if it ends without having answered.
    """
    with tempfile.TemporaryFile() as said, _child(module, slot, said) as child:
        child.send(question)
        with os.fdopen(child.replies, "rb", closefd=False) as replies:
            for line in replies:
                part = json.loads(line)
                if "refused" in part:
                    raise rebuild(part["refused"]["type"], part["refused"]["message"])
                yield part
        code = child.wait()
        if code:
            raise EngineError(f"the process that measures ended with code {code}: {tail(said)}")


@contextlib.contextmanager
def _child(module: str, slot: Slot, said: IO[bytes]) -> Iterator[Child]:
    child = Child(module, slot=slot, log=said)
    try:
        yield child
    finally:
        child.end()


def tail(said: IO[bytes]) -> str:
    """The last lines of what a process printed."""
    said.seek(0)
    return "\n".join(said.read().decode(errors="replace").splitlines()[-TAIL_LINES:]) or "it said nothing"
