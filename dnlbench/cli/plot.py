"""``dnlbench plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dnlbench.cli.output import guarded

if TYPE_CHECKING:
    from dnlbench.charts.mpl import Width


@guarded
def plot(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="PROFILE", help="One profile, or several of one study to overlay.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", help="FILE.svg, FILE.png or FILE.pdf.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="epochs|depth|cost", help="What is drawn, repeatable; by default what suits the study."
        ),
    ] = None,
    quantities: Annotated[
        list[str] | None,
        typer.Option("--quantity", help="What is drawn over depth, repeatable, by the names in the profile."),
    ] = None,
    width: Annotated[str, typer.Option(help="column (3.3 in), page (6.8 in), or inches.")] = "page",
    log: Annotated[
        bool | None,
        typer.Option("--log/--linear", help="The y axes; by default as the values suggest.", show_default=False),
    ] = None,
    dpi: Annotated[int, typer.Option(min=50, max=1200, help="Dots per inch of PNG.")] = 300,
) -> None:
    """Draw profiles for print: loss over epochs, results with their fits over depth, and what depth costs.

    Several profiles share the panels: equal color is equal network, and each profile has dashes of its own. Equal profiles
    give equal bytes. A profile with nothing to draw is exit code 2.
    """
    from dnlbench.charts.figure import check_format, check_kind, figure_layout
    from dnlbench.charts.mpl import figure_bytes, inches
    from dnlbench.outputs import check_output, write_output
    from dnlbench.profiles import read_profile
    from dnlbench.studies import TRAIN_LOSS

    format_, width_in = check_format(output), inches(_width(width))
    check_output(output, profiles)
    layout = figure_layout(
        [read_profile(path) for path in profiles],
        [check_kind(kind) for kind in kinds or ()],
        metric=TRAIN_LOSS,
        log=log,
        quantities=quantities or (),
    )
    write_output(output, figure_bytes(layout, format_, width=width_in, dpi=dpi))


def _width(text: str) -> Width:
    from dnlbench.errors import ConfigurationError

    if text == "column":
        return "column"
    if text == "page":
        return "page"
    try:
        return float(text)
    except ValueError as error:
        raise ConfigurationError(f"--width {text!r}: column, page, or a number of inches") from error
