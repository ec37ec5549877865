"""Colors, markers and dashes: networks by color and marker, depths by shade and marker, profiles by dashes and filling."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Identity, Series
from dnlbench.charts.palette import OKABE_ITO

Dashes = tuple[float, ...]
"""Lengths of dashes and gaps in multiples of a line's width; empty: a solid line."""

BLACK = "#000000"
GRAY = "#666666"
MARKERS = ("o", "^", "s", "D", "P", "*", "v", "<", ">", "p")
"""In the order of the terminal's marks; its ✖ is left to runs that ended badly."""
DASHES: tuple[Dashes, ...] = ((), (4, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5), (8, 2.5), (3, 1.2, 1.2, 1.2, 1.2, 1.2))
"""One for each profile."""
_PRINT_COLORS = {"#F0E442": "#000000"}
"""The palette's yellow can hardly be seen on white; black is the palette's own ninth colour."""
LIGHTEST, DARKEST = 74.0, 22.0
"""CIE lightness of the shades for the smallest and the largest depth: neither is lost on white, nor taken for black."""
BISECTIONS = 20


@dataclass(frozen=True, kw_only=True)
class Style:
    """What tells series apart: two with different meanings differ in color, and in marker or dashes."""

    color: str
    """``#rrggbb``."""
    marker: str = ""
    """As Matplotlib names it; empty: none."""
    dashes: Dashes = ()
    filled: bool = True


THEORY = Style(color=GRAY, dashes=(2.5, 1.5))
FAILED = Style(color=BLACK, marker="x")


def style_of(series: Series) -> Style:
    """The look of a series."""
    return THEORY if series.role == "theory" else identity_style(series.identity)


def profile_style(profile: int) -> Style:
    """A profile in the legend."""
    return Style(color=BLACK, marker="o", dashes=DASHES[profile % len(DASHES)], filled=profile == 0)


def identity_style(identity: Identity) -> Style:
    """The network's color, the darker the deeper."""
    color = network_color(identity.network)
    place = identity.network if identity.depth is None else identity.depth[0]
    return Style(
        color=color if identity.depth is None else shade(color, *identity.depth),
        marker=MARKERS[place % len(MARKERS)],
        dashes=DASHES[identity.profile % len(DASHES)],
        filled=identity.profile == 0,
    )


def network_color(place: int) -> str:
    """The color of the network at that place, the same as on the screen except for yellow."""
    color = OKABE_ITO[place % len(OKABE_ITO)]
    return _PRINT_COLORS.get(color, color)


def shade(color: str, place: int, count: int) -> str:
    """The hue at the place's lightness of so many, from light to dark; the color itself if there is only one."""
    if count < 2:
        return color
    hue, _, saturation = colorsys.rgb_to_hls(*_channels(color))
    wanted, low, high = LIGHTEST + (DARKEST - LIGHTEST) * place / (count - 1), 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = lightness(_hex(colorsys.hls_to_rgb(hue, middle, saturation))) < wanted
        low, high = (middle, high) if below else (low, middle)
    return _hex(colorsys.hls_to_rgb(hue, low, saturation))


def lightness(color: str) -> float:
    """``116 Y^(1/3) - 16`` with the relative luminance Y of sRGB: what is left of a color in gray print, 0 to 100."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(color)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def _channels(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _hex(channels: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
