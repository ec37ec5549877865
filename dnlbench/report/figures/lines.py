"""Texts that keep to a width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

TIED = "\u00a0"
"""A blank at which a line is broken only if there is no other."""
ELLIPSIS = "…"

Fits = Callable[[str], bool]
"""Whether there is room for a line."""


def tied(text: str) -> str:
    """Not broken over two lines if that can be helped."""
    return text.replace(" ", TIED)


def shortened(text: str, fits: Fits) -> str:
    """With an ellipsis in its middle where there is no room for all of it: both ends tell names apart."""
    if fits(text):
        return text
    for kept in range(len(text) - 1, 1, -1):
        found = text[: (kept + 1) // 2] + ELLIPSIS + text[len(text) - kept // 2 :]
        if fits(found):
            return found
    return ELLIPSIS


def wrapped(notes: Sequence[str], fits: Fits, most: int, more: str) -> list[str]:
    """Each note from a new line, ``most`` lines in all, the last of which says that there is more if there is."""
    lines: list[str] = []
    for note in notes:
        line = ""
        for word in _words(note, fits):
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
        for part in [word] if fits(word) else word.split(TIED):
            yield shortened(part, fits)
