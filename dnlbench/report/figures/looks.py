"""Colours, markers and dashes: networks by colour and marker, depths by shade and marker, profiles by dashes and filling."""

from __future__ import annotations

import colorsys

from dnlbench.report.figures.panel import Dashes, Look
from dnlbench.report.palette import OKABE_ITO

INK = "#000000"
QUIET = "#666666"
MARKERS = ("o", "^", "s", "D", "P", "*", "v", "<", ">", "p")
"""In the order of the terminal's marks; its ✖ is left to runs that ended badly."""
DASHES: tuple[Dashes, ...] = ((), (4, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5), (8, 2.5), (3, 1.2, 1.2, 1.2, 1.2, 1.2))
"""One for each profile."""
_ON_PAPER = {"#F0E442": "#000000"}
"""The palette's yellow can hardly be seen on white; black is the palette's own ninth colour."""
LIGHTEST, DARKEST = 74.0, 22.0
"""CIE lightness of the shades for the smallest and the largest depth: neither is lost on white, nor taken for black."""
BISECTIONS = 20


def network_colour(place: int) -> str:
    """The colour of the network at that place, the same as on the screen but for yellow."""
    colour = OKABE_ITO[place % len(OKABE_ITO)]
    return _ON_PAPER.get(colour, colour)


def network_look(place: int, profile: int = 0) -> Look:
    """A network of a profile over depth."""
    return Look(
        colour=network_colour(place), marker=_marker(place), dashes=DASHES[profile % len(DASHES)], filled=profile == 0
    )


def depth_look(network: int, depth: int, depths: int, profile: int = 0) -> Look:
    """One depth of so many of a network of a profile: the network's hue, the darker the deeper."""
    return Look(
        colour=shade(network_colour(network), depth, depths),
        marker=_marker(depth),
        dashes=DASHES[profile % len(DASHES)],
        filled=profile == 0,
    )


def shade(colour: str, place: int, count: int) -> str:
    """The hue at the place's lightness of so many, from light to dark; the colour itself where there is but one."""
    if count < 2:
        return colour
    hue, _, saturation = colorsys.rgb_to_hls(*_channels(colour))
    wanted, low, high = LIGHTEST + (DARKEST - LIGHTEST) * place / (count - 1), 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = lightness(_hex(colorsys.hls_to_rgb(hue, middle, saturation))) < wanted
        low, high = (middle, high) if below else (low, middle)
    return _hex(colorsys.hls_to_rgb(hue, low, saturation))


def lightness(colour: str) -> float:
    """``116 Y^(1/3) - 16`` with the relative luminance Y of sRGB: what is left of a colour in grey print, 0 to 100."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _hex(channels: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]
