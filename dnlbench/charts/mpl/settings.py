"""Print sizes, and the Matplotlib parameters that override its defaults. User settings are ignored."""

from __future__ import annotations

from typing import Any

TEXT_PT = 8.0
SMALL_PT = 7.0
"""Size of ticks, legend and notes, the smallest text in a figure."""
LINE_PT = 1.2
THIN_PT = 0.6
MARKER_PT = 4.0
CROSS_PT = 5.0
FAINT = 0.45
"""Opacity of background runs."""
BAND = 0.18
"""Opacity of bands."""

FONT = "DejaVu Sans"
"""Shipped with Matplotlib, so that every machine has it."""
FALLBACK_FONTS = "Verdana, Arial, sans-serif"
"""Fallbacks for viewers without the font. They are not wider, so that text still fits."""

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
    "text.parse_math": False,  # dollar signs in names are literal
    "pdf.fonttype": 42,
    "svg.fonttype": "none",  # searchable, accessible and editable text
    "svg.hashsalt": "dnlbench",
}
