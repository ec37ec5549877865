"""Colour and mark of each series: told apart by people who see colours differently, and by mark where there is no colour."""

from __future__ import annotations

from dnlbench.tui.plot.figure import MARKS

OKABE_ITO = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")
"""Okabe & Ito, Color Universal Design (2008): apart for all common forms of colour vision."""
ANSI = ("ansi_bright_blue", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_cyan", "ansi_bright_yellow")
"""The terminal's own colours, for people who chose them."""


def identity(place: int, *, ansi: bool = False) -> tuple[str, str]:
    """Colour and mark of the series at that place. Two series of one colour have different marks as long as there are any."""
    colours = ANSI if ansi else OKABE_ITO
    return colours[place % len(colours)], MARKS[place % len(MARKS)]
