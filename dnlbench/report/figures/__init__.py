"""Profiles as figures for print: SVG, PNG and PDF. Matplotlib is imported when a figure is drawn, not before."""

from __future__ import annotations

from collections.abc import Sequence

from dnlbench.profiles import Profile
from dnlbench.report.figures.plan import FORMATS, KINDS, Kind, Width, check_format, check_kind, kinds_of, planned

__all__ = ["FORMATS", "KINDS", "Kind", "Width", "check_format", "check_kind", "figure_bytes", "figure_svg", "kinds_of"]

DPI = 300
"""Of PNG, where nothing else is asked for."""


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
    from dnlbench.report.figures.render import embeddable

    content = figure_bytes(profiles, "svg", [kind] if kind else (), width=width, log=log, quantities=quantities)
    return embeddable(content.decode())


def figure_bytes(
    profiles: Sequence[Profile],
    format_: str,
    kinds: Sequence[Kind] = (),
    *,
    width: Width = "page",
    log: bool | None = None,
    quantities: Sequence[str] = (),
    dpi: int = DPI,
) -> bytes:
    """A figure as the content of a file, the same bytes for the same profiles.

    Args:
        profiles: as in `figure_svg`; so for width, log and quantities.
        format_: one of `FORMATS`.
        kinds: what is drawn, from above; none: what suits the study.
        width: see there.
        log: see there.
        quantities: see there.
        dpi: dots per inch of PNG.

    Raises:
        ConfigurationError: see there.
    """
    plan = planned(profiles, kinds, width=width, log=log, quantities=quantities)  # its errors need no Matplotlib
    from dnlbench.report.figures.render import render

    return render(plan, format_=format_, dpi=dpi)
