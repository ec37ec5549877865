"""How a character looks, and colours that are between two others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


class Ink(NamedTuple):
    """How a character looks. An empty colour is that of the terminal or widget."""

    colour: str = ""
    background: str = ""
    bold: bool = False
    dim: bool = False


class Run(NamedTuple):
    """Characters next to each other that look alike."""

    text: str
    ink: Ink


PLAIN = Ink()


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a chart is drawn on."""

    foreground: str = ""
    background: str = ""
    """``#rrggbb``; empty where it is not known, as the terminal's own. Then nothing is shaded."""
    colours: bool = True
    """Without, nothing depends on colours: bands have edges, and are not shaded."""

    focused: bool = False
    """Whether keys go to the chart: its axes stand out then."""

    def axis(self) -> Ink:
        """Of the axes."""
        return PLAIN if self.focused else self.quiet()

    def quiet(self) -> Ink:
        """Of what is there to be found, not to be seen."""
        blended = blend(self.foreground, self.background, 0.6) if self.colours else ""
        return Ink(colour=blended) if blended else Ink(dim=True)

    def faint(self, colour: str) -> Ink:
        """Of what is behind."""
        blended = blend(colour or self.foreground, self.background, 0.5) if self.colours else ""
        return Ink(colour=blended) if blended else Ink(colour=colour, dim=True)

    def shade(self, colour: str) -> str:
        """Background of a band; empty where none can be had."""
        return blend(colour or self.foreground, self.background, 0.22) if self.colours else ""


def blend(colour: str, background: str, share: float) -> str:
    """``share`` of a colour on a background, by channels; empty unless both are ``#rrggbb``."""
    if not (_HEX.fullmatch(colour) and _HEX.fullmatch(background)):
        return ""
    pairs = ((int(colour[k : k + 2], 16), int(background[k : k + 2], 16)) for k in (1, 3, 5))
    return "#" + "".join(f"{round(share * over + (1 - share) * under):02x}" for over, under in pairs)
