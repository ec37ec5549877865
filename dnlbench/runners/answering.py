"""A process that is asked one thing; `dnlbench.executor.asking` is the other side.

The question is one JSON object on standard input, the answer any number of them on standard output, each on a line of its own.
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
from typing import Any

from dnlbench.errors import DnlbenchError

Answer = Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]


def answer(work: Answer) -> None:
    """Hears the question, and says what ``work`` yields as it comes."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    lines = _listen()
    try:
        for part in work(json.loads(lines.get())):
            print(json.dumps(part), file=output, flush=True)
    except DnlbenchError as error:
        print(json.dumps({"refused": {"type": type(error).__name__, "message": str(error)}}), file=output, flush=True)
    except Exception as error:
        traceback.print_exc()
        refused = {"type": "EngineError", "message": f"{type(error).__name__}: {error}"}
        print(json.dumps({"refused": refused}), file=output, flush=True)


def _listen() -> queue.SimpleQueue[str]:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    return lines
