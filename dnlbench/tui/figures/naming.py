"""What tells the series of several profiles apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase


def letter(place: int) -> str:
    """Short name of the profile at that place: A, B, and so on to Z, then AA, BB."""
    return ascii_uppercase[place % 26] * (place // 26 + 1)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What tells the series of one profile and point apart."""

    name: str
    """Of the profile; empty where there is only one."""
    place: int
    dashed: bool
    ansi: bool


def names_of(count: int, letters: Sequence[str]) -> list[str]:
    """As given; by default letters for several, and no name for a single one."""
    if letters:
        return list(letters)
    return [letter(place) for place in range(count)] if count > 1 else [""]


def titled(label: str, unit: str) -> str:
    """Begins with what is drawn and its unit: the end of a title is cut where there is no room."""
    return f"{label[0].upper()}{label[1:]}{f' ({unit})' if unit else ''}"


def reading(what: str, names: Sequence[str], *, geometric: bool = False) -> str:
    """How the curves are to be read."""
    whose = f"; solid: {names[0]}, dashed: {', '.join(names[1:])}" if len(names) > 1 else ""
    return f"{'geometric mean' if geometric else 'mean'} over seeds, 95 % {what}{whose}"
