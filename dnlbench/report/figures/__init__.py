"""Profiles as figures for print: SVG, PNG and PDF. Matplotlib is imported when a figure is drawn, not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dnlbench.profiles import Profile

Kind = Literal["epochs", "depth", "cost"]
"""``epochs``: curves over epochs, a panel for each network. ``depth``: quantities with their fits over depth, a panel for each.
``cost``: what depth costs."""
Width = float | Literal["column", "page"]
"""Of a figure, in inches or by name."""


def figure_svg(
    profiles: Sequence[Profile],
    kind: Kind | None = None,
    *,
    width: Width = "page",
    log: bool | None = None,
    quantities: Sequence[str] = (),
) -> str:
    """A figure as one ``<svg>`` element, without a prologue, so that it can stand in HTML as it is.

    Args:
        profiles: one, or several of one study to overlay, the first being the one to hold the others against.
        kind: None for what suits the study: a sheet with the panels that a paper would show.
        width: in inches, or that of a ``column`` or ``page`` of print.
        log: whether the y axes of losses and results are logarithmic; None: as the values suggest.
        quantities: names of what ``depth`` shows; by default the study's main ones.

    Raises:
        ConfigurationError: if the profiles hold nothing to draw, are of several studies, or lack what was asked for.
    """
    raise NotImplementedError
