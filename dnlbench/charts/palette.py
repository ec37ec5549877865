"""Colors that remain distinct for all common forms of color vision."""

from __future__ import annotations

OKABE_ITO = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442", "#999999")
"""The palette of Okabe & Ito, Color Universal Design (2008), in the order of use."""
