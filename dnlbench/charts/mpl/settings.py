"""Sizes in print, and what is set in Matplotlib beside its own defaults, whatever the user's are."""

from __future__ import annotations

from typing import Any

TEXT_PT = 8.0
SMALL_PT = 7.0
"""Of ticks, legend and notes; no text is smaller."""
LINE_PT = 1.2
THIN_PT = 0.6
MARKER_PT = 4.0
CROSS_PT = 5.0
FAINT = 0.45
"""Opacity of runs in the background."""
BAND = 0.18
"""Opacity of a band."""

FONT = "DejaVu Sans"
"""Comes with Matplotlib, so that all machines have it."""
FALLBACK_FONTS = "Verdana, Arial, sans-serif"
"""Where an SVG is shown without it: no wider, so that no text is longer than there is room for."""

RC_PARAMS: dict[str, Any] = {
    "font.family": FONT,
    "font.size": SMALL_PT,
    "axes.labelsize": TEXT_PT,
    "axes.titlesize": TEXT_PT,
    "axes.unicode_minus": True,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "text.hinting": "none",
    "text.parse_math": False,  # a name with dollar signs is a name
    "pdf.fonttype": 42,
    "svg.fonttype": "none",  # text that can be searched, read aloud and edited
    "svg.hashsalt": "dnlbench",
}
