"""Colours that are apart for all common forms of colour vision."""

from __future__ import annotations

OKABE_ITO = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")
"""Okabe & Ito, Color Universal Design (2008), in the order in which series take them."""
