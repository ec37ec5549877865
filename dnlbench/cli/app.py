"""The ``dnlbench`` command. Commands import what they need when they are called, so that ``--help`` is there at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dnlbench import __version__
from dnlbench.cli import (
    attach,
    calibrate,
    compare,
    control,
    devices,
    diagnose,
    docs,
    export,
    plot,
    presets,
    profiles,
    run,
    schema,
    tui,
    tune,
)
from dnlbench.cli.group import Group
from dnlbench.cli.output import ExitCode, prepare_streams, say, write

app = typer.Typer(
    cls=Group,
    name="dnlbench",
    help="Depth sweeps of densely connected networks: run them, save comparable profiles, compare them.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("tune")(tune.tune)
app.command("attach")(attach.attach)
app.command("tui")(tui.tui)
app.command("control")(control.control)
app.command("compare")(compare.compare)
app.command("calibrate")(calibrate.calibrate)
app.command("plot")(plot.plot)
app.command("diagnose")(diagnose.diagnose)
profiles.app.command("export")(export.export)
app.add_typer(profiles.app, name="profiles")
app.add_typer(presets.app, name="presets")
app.command("devices")(devices.devices)
app.command("schema")(schema.schema)
app.command("docs")(docs.docs)


def _version(wanted: bool) -> None:
    if wanted:
        write(f"dnlbench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Depth sweeps of densely connected networks: run them, save comparable profiles, compare them."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        say("dnlbench: error: the current folder no longer exists. Change to another folder and try again")
        raise typer.Exit(ExitCode.USAGE) from error
    if context.invoked_subcommand is None:
        if not tui.has_terminal():
            say(
                "dnlbench: the terminal UI needs a terminal; without one name a command, for example: "
                "dnlbench run digits-quick. See dnlbench --help"
            )
            raise typer.Exit(ExitCode.USAGE)
        tui.start()


def main() -> None:
    """The console script."""
    prepare_streams()
    app()
