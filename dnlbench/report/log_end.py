"""The end of a log, where its cause of trouble is."""

from __future__ import annotations

LOG_LINES = 40
LOG_CHARACTERS = 8_000


def log_end(log: str) -> str:
    """The last lines, none longer all together than a page shows."""
    found = "\n".join(log.rstrip().splitlines()[-LOG_LINES:])
    return found if len(found) <= LOG_CHARACTERS else f"…{found[-LOG_CHARACTERS:]}"
