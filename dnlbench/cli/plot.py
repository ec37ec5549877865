"""``dnlbench plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded

if TYPE_CHECKING:
    from dnlbench.charts.mpl import Width


@guarded
def plot(
    profiles: Annotated[
        list[Path],
        options.Argument(
            metavar="PROFILE",
            help="Profiles of one study; several share the panels.",
            autocompletion=complete.profiles,
        ),
    ],
    output: Annotated[
        Path, options.Option("-o", "--out", metavar="FILE", help="File to write: FILE.svg, FILE.png or FILE.pdf.")
    ],
    kinds: Annotated[
        list[str] | None,
        options.Option(
            "--kind",
            metavar="epochs|transfer|depth|cost|budget",
            help="Kind of panel to plot. Repeatable. Default: all but budget, as far as they apply.",
            autocompletion=complete.plot_kinds,
        ),
    ] = None,
    quantities: Annotated[
        list[str] | None,
        options.Option(
            "--quantity",
            metavar="NAME",
            help="Quantity to plot over depth, by its name in the profile. Repeatable. Default: those of the study.",
        ),
    ] = None,
    width: Annotated[
        str,
        options.Option(
            metavar="column|page|INCHES", help="Width: column (3.3 in), page (6.8 in) or inches. Default: page."
        ),
    ] = "page",
    log: Annotated[
        bool | None,
        options.Option("--log/--linear", help="Scale of the y axes. Default: chosen from the range of the values."),
    ] = None,
    dpi: Annotated[
        int, options.Option(min=50, max=1200, metavar="N", help="Resolution of PNG in dots per inch. Default: 300.")
    ] = 300,
) -> None:
    """Plot profiles as SVG, PNG or PDF.

    Panels show loss over epochs, loss over the tuned setting, results with fits over depth, cost over depth, and loss against
    budgets (parameters, FLOPs, time, memory). Several profiles share the panels: colors distinguish networks, dash patterns
    distinguish profiles. Equal profiles give byte-identical files. Exits with code 2 if there is nothing to plot.
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
        raise ConfigurationError(f"--width {text!r}: write column, page or a number of inches") from error
