"""Texts that keep to a width."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from dnlbench.escape import printable

NO_BREAK_SPACE = "\u00a0"
"""A blank at which a line is broken only if there is no other."""
ELLIPSIS = "…"

Fits = Callable[[str], bool]
"""Whether there is room for a line."""


def unbreakable(text: str) -> str:
    """Not broken over two lines if that can be helped."""
    return text.replace(" ", NO_BREAK_SPACE)


def shortened(text: str, fits: Fits) -> str:
    """Text without control characters, with an ellipsis in its middle where there is no room for all of it."""
    text = printable(text)
    if fits(text):
        return text

    def cut(kept: int) -> str:
        return text[: (kept + 1) // 2] + ELLIPSIS + text[len(text) - kept // 2 :]

    # by halves: to measure each length takes minutes for a name of thousands of letters
    most = bisect_left(range(2, len(text)), True, key=lambda kept: not fits(cut(kept))) + 1
    return cut(most) if most > 1 else ELLIPSIS


def wrapped(notes: Sequence[str], fits: Fits, most: int, more: str) -> list[str]:
    """Each note from a new line, ``most`` lines in all, the last of which says that there is more if there is."""
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
    """What is tied is one word, if a line holds it."""
    for word in note.split(" "):
        for part in [word] if fits(word) else word.split(NO_BREAK_SPACE):
            yield shortened(part, fits)
