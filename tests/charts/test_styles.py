"""Series are distinguishable with color vision deficiencies and in gray print."""

from __future__ import annotations

import itertools
import math

import pytest

from dnlbench.charts.model import Identity
from dnlbench.charts.mpl.styles import DASHES, MARKERS, Style, identity_style, lightness, network_color
from dnlbench.charts.palette import OKABE_ITO

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
VISION = {
    "by most": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
APART = 15.0
"""Minimum distance in CIE Lab; the just noticeable difference is 2.3."""


def linear(color: str) -> list[float]:
    channels = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def lab(color: str, vision: str) -> tuple[float, float, float]:
    rgb = [min(1.0, max(0.0, sum(w * c for w, c in zip(row, linear(color), strict=True)))) for row in VISION[vision]]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(w * c for w, c in zip(row, rgb, strict=True)) for row in to_xyz]
    x, y, z = (
        t ** (1 / 3) if (t := v / white) > 0.008856 else 7.787 * t + 16 / 116
        for v, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def network_style(index: int, profile: int = 0) -> Style:
    return identity_style(Identity(network=index, profile=profile))


def depth_style(network: int, depth: int, depths: int) -> Style:
    return identity_style(Identity(network=network, depth=(depth, depths)))


@pytest.mark.parametrize("vision", VISION)
def test_networks_differ_in_color_and_in_marker(vision: str) -> None:
    styles = [network_style(index) for index in range(7)]
    for a, b in itertools.combinations(styles, 2):
        assert a.marker != b.marker
        assert math.dist(lab(a.color, vision), lab(b.color, vision)) > APART, (a, b)


def test_beyond_the_palette_markers_differ() -> None:
    styles = [(style.color, style.marker) for style in map(network_style, range(40))]
    assert len(set(styles)) == 40
    assert "x" not in MARKERS  # of runs that ended badly


def test_networks_have_the_colors_of_the_screen_but_for_yellow() -> None:
    assert [network_color(index) for index in range(6)] == [*OKABE_ITO[:6]]
    assert all(lightness(network_color(index)) < 80 for index in range(8))  # to be seen on white


@pytest.mark.parametrize("network", range(8))
@pytest.mark.parametrize("vision", VISION)
def test_depths_grow_darker_for_everybody(network: int, vision: str) -> None:
    styles = [depth_style(network, index, 6) for index in range(6)]
    for a, b in itertools.pairwise(styles):
        assert a.marker != b.marker
        assert lab(a.color, vision)[0] - lab(b.color, vision)[0] > 5
        assert lightness(a.color) - lightness(b.color) > 9  # in gray print
    assert all(15 < lightness(style.color) < 80 for style in styles)


def test_profiles_differ_in_dashes() -> None:
    styles = [network_style(0, profile) for profile in range(len(DASHES))]
    assert len({style.dashes for style in styles}) == len(styles)
    assert [style.filled for style in styles] == [True, *[False] * (len(styles) - 1)]
    assert len({style.color for style in styles}) == 1
