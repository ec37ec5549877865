"""Colour and mark of each series: told apart by people who see colours differently, and by mark where there is no colour."""

from __future__ import annotations

from dnlbench.charts.palette import OKABE_ITO
from dnlbench.tui.plot.figure import MARKS

ANSI = ("ansi_bright_blue", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_cyan", "ansi_bright_yellow")
"""The terminal's own colours, for people who chose them."""


def identity(place: int, *, ansi: bool = False) -> tuple[str, str]:
    """Colour and mark of the series at that place. Two series of one colour have different marks as long as there are any."""
    colours = ANSI if ansi else OKABE_ITO
    return colours[place % len(colours)], MARKS[place % len(MARKS)]
