"""Themes in addition to Textual's. Their signal colors are distinguishable with common color vision deficiencies."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="dnlbench",
    primary="#56B4E9",
    secondary="#0072B2",
    accent="#E69F00",
    warning="#E69F00",
    error="#D55E00",
    success="#009E73",
    background="#101418",
    surface="#181E24",
    panel="#20282F",
    foreground="#DDE3E8",
    dark=True,
)
LIGHT = Theme(
    name="dnlbench-light",
    primary="#0072B2",
    secondary="#56B4E9",
    accent="#B35900",
    warning="#B35900",
    error="#C03A00",
    success="#00704F",
    background="#FCFCFA",
    surface="#F1F3F4",
    panel="#E4E8EA",
    foreground="#1B2126",
    dark=False,
)
THEMES = (DARK, LIGHT)
