"""Colors, markers and dashes of series.

Networks differ by color and marker, depths by shade and marker, profiles by dashes and fill.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dnlbench.charts.model import Identity, Role, Series
from dnlbench.charts.palette import OKABE_ITO

Dashes = tuple[float, ...]
"""Lengths of dashes and gaps in multiples of the line width; empty for a solid line."""

BLACK = "#000000"
GRAY = "#666666"
MARKERS = ("o", "^", "s", "D", "P", "*", "v", "<", ">", "p")
"""Markers in the order of those in the terminal. The cross is reserved for failed runs."""
DASHES: tuple[Dashes, ...] = ((), (4, 1.6), (1.2, 1.4), (6, 1.5, 1.2, 1.5), (8, 2.5), (3, 1.2, 1.2, 1.2, 1.2, 1.2))
"""Dash patterns by profile."""
_PRINT_COLORS = {"#F0E442": "#000000"}
"""Substitutes in print: yellow has too little contrast on white; black is the ninth color of the palette."""
LIGHTEST, DARKEST = 74.0, 22.0
"""CIE lightness of the smallest and the largest depth: visible on white, and distinct from black."""
BISECTIONS = 20


@dataclass(frozen=True, kw_only=True)
class Style:
    """The color, marker and dashes of a series. Different series differ in color, and in marker or dashes."""

    color: str
    """``#rrggbb``."""
    marker: str = ""
    """Matplotlib marker; empty for none."""
    dashes: Dashes = ()
    filled: bool = True


THEORY = Style(color=GRAY, dashes=(2.5, 1.5))
FRONT = Style(color=GRAY)
FAILED = Style(color=BLACK, marker="x")
REFERENCE_STYLES: Mapping[Role, Style] = {"theory": THEORY, "front": FRONT}
"""Styles of lines that belong to no network."""


def style_of(series: Series) -> Style:
    """Return the style of a series."""
    return REFERENCE_STYLES.get(series.role) or identity_style(series.identity)


def profile_style(profile: int) -> Style:
    """Return the style of a profile in the legend."""
    return Style(color=BLACK, marker="o", dashes=DASHES[profile % len(DASHES)], filled=profile == 0)


def identity_style(identity: Identity) -> Style:
    """Return the style of a network; larger depths are darker."""
    color = network_color(identity.network)
    index = identity.network if identity.depth is None else identity.depth[0]
    return Style(
        color=color if identity.depth is None else shade(color, *identity.depth),
        marker=MARKERS[index % len(MARKERS)],
        dashes=DASHES[identity.profile % len(DASHES)],
        filled=identity.profile == 0,
    )


def network_color(index: int) -> str:
    """Return the color of a network, the same as on the screen except for yellow."""
    color = OKABE_ITO[index % len(OKABE_ITO)]
    return _PRINT_COLORS.get(color, color)


def shade(color: str, index: int, count: int) -> str:
    """Return shade ``index`` of ``count``, from light to dark; the color itself if ``count`` is 1."""
    if count < 2:
        return color
    hue, _, saturation = colorsys.rgb_to_hls(*_channels(color))
    wanted, low, high = LIGHTEST + (DARKEST - LIGHTEST) * index / (count - 1), 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = lightness(_hex(colorsys.hls_to_rgb(hue, middle, saturation))) < wanted
        low, high = (middle, high) if below else (low, middle)
    return _hex(colorsys.hls_to_rgb(hue, low, saturation))


def lightness(color: str) -> float:
    """Return the CIE lightness ``116 Y^(1/3) - 16``, 0 to 100, with the relative luminance Y of sRGB."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(color)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def _channels(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
    return red, green, blue


def _hex(channels: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
