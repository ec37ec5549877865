"""A process that is asked one thing; `dnlbench.executor.asking` is the other side.

The question is one JSON object on standard input, the answer any number of them on a pipe of its own, each on a line.
What cannot be answered at all is ``{"refused": {"type": …, "message": …}}``. When standard input closes nobody is interested
any more, and the process leaves at once.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from dnlbench.errors import DnlbenchError

Answer = Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]


def open_replies() -> TextIO:
    """The pipe to the parent, whose descriptor is the process's last argument; what this process starts does not get it."""
    descriptor = int(sys.argv.pop())
    os.set_inheritable(descriptor, False)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def answer(work: Answer) -> None:
    """Hears the question, and says what ``work`` yields as it comes."""
    output, lines = open_replies(), listen()
    try:
        for part in work(json.loads(lines.get())):
            print(json.dumps(part), file=output, flush=True)
    except DnlbenchError as error:
        print(json.dumps({"refused": {"type": type(error).__name__, "message": str(error)}}), file=output, flush=True)
    except Exception as error:
        traceback.print_exc()
        refused = {"type": "EngineError", "message": f"{type(error).__name__}: {error}"}
        print(json.dumps({"refused": refused}), file=output, flush=True)


def listen() -> queue.SimpleQueue[str]:
    """The lines on standard input. When that closes the process leaves."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def hear() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=hear, daemon=True).start()
    return lines
