"""Shorten and wrap text to a width."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from dnlbench.escape import printable

NO_BREAK_SPACE = "\u00a0"
"""A space at which lines break only as a last resort."""
ELLIPSIS = "…"

Fits = Callable[[str], bool]
"""A predicate: a line of text fits the width."""


def unbreakable(text: str) -> str:
    """Keep text on one line if possible."""
    return text.replace(" ", NO_BREAK_SPACE)


def shortened(text: str, fits: Fits) -> str:
    """Return text without control characters, with an ellipsis in the middle if it does not fit."""
    text = printable(text)
    if fits(text):
        return text

    def cut(kept: int) -> str:
        return text[: (kept + 1) // 2] + ELLIPSIS + text[len(text) - kept // 2 :]

    # bisection: measuring every length takes minutes for a name of thousands of characters
    most = bisect_left(range(2, len(text)), True, key=lambda kept: not fits(cut(kept))) + 1
    return cut(most) if most > 1 else ELLIPSIS


def wrapped(notes: Sequence[str], fits: Fits, most: int, more: str) -> list[str]:
    """Wrap notes, each on a new line, into at most ``most`` lines. If more are needed, the last line is ``more``."""
    lines: list[str] = []
    for note in notes:
        line = ""
        for word in _words(printable(note), fits):
            longer = f"{line} {word}" if line else word
            if line and not fits(longer):
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines if len(lines) <= most else [*lines[: most - 1], more]


def _words(note: str, fits: Fits) -> Iterator[str]:
    """Yield words. Text joined by no-break spaces is one word if it fits a line."""
    for word in note.split(" "):
        for part in [word] if fits(word) else word.split(NO_BREAK_SPACE):
            yield shortened(part, fits)
