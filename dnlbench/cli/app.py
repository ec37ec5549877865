"""The ``dnlbench`` command. Each command imports its dependencies when it is called, which keeps ``--help`` fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

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
from dnlbench.cli import list as list_
from dnlbench.cli.group import HELP, Command, Group, examples
from dnlbench.cli.output import ExitCode, prepare_streams, say, write

SWEEPS, RESULTS, REFERENCE = "Run sweeps", "Work with results", "Machine and reference"

app = typer.Typer(
    cls=Group,
    name="dnlbench",
    epilog=examples(
        "dnlbench run digits-quick",
        "dnlbench compare profiles/reference.json profiles/candidate.json",
        "dnlbench docs tutorial",
    ),
    context_settings=HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _add(name: str, command: Callable[..., Any], panel: str, *lines: str) -> None:
    app.command(name, cls=Command, rich_help_panel=panel, epilog=examples(*lines))(command)


_add(
    "run",
    run.run,
    SWEEPS,
    "dnlbench run digits-quick",
    "dnlbench run my.toml --set sweep.depths=[2,4,8] --set train.epochs=1",
    "dnlbench run my.toml --against ../main/.venv/bin/python --fail-on loss:worse",
)
_add("tune", tune.tune, SWEEPS, "dnlbench tune digits-quick", "dnlbench tune my.toml --device cuda:0 --json")
_add("attach", attach.attach, SWEEPS, "dnlbench attach", "dnlbench attach .dnlbench/runs/digits-quick-1a2b3c --plain")
_add(
    "control",
    control.control,
    SWEEPS,
    "dnlbench control .dnlbench/runs/digits-quick-1a2b3c pause",
    "dnlbench control .dnlbench/runs/digits-quick-1a2b3c release --device cuda:1",
)
_add("tui", tui.tui, SWEEPS, "dnlbench tui", "dnlbench tui profiles/a.json profiles/b.json")
_add(
    "compare",
    compare.compare,
    RESULTS,
    "dnlbench compare profiles/reference.json profiles/candidate.json",
    "dnlbench compare a.json b.json --fail-on loss:worse --fail-on throughput:5%",
    "dnlbench compare a.json a.json --match depth --networks densenet,resnet",
)
app.add_typer(profiles.app, name="profiles", rich_help_panel=RESULTS)
_add(
    "plot",
    plot.plot,
    RESULTS,
    "dnlbench plot profiles/a.json -o loss.pdf",
    "dnlbench plot a.json b.json -o figure.svg --kind depth --width column",
)
_add(
    "diagnose",
    diagnose.diagnose,
    RESULTS,
    "dnlbench diagnose .dnlbench/runs/digits-quick-1a2b3c",
    "dnlbench diagnose profiles/a.json --format csv -o diagnosis.csv",
)
app.add_typer(presets.app, name="presets", rich_help_panel=REFERENCE)
_add("list", list_.list_, REFERENCE, "dnlbench list networks", "dnlbench list formats --json")
_add("devices", devices.devices, REFERENCE, "dnlbench devices")
_add("calibrate", calibrate.calibrate, REFERENCE, "dnlbench calibrate --rounds 7", "dnlbench calibrate --show")
_add("schema", schema.schema, REFERENCE, "dnlbench schema spec > spec.schema.json")
_add("docs", docs.docs, REFERENCE, "dnlbench docs", "dnlbench docs tutorial")
profiles.app.command(
    "export",
    cls=Command,
    epilog=examples(
        "dnlbench profiles export profiles/a.json --format csv -o epochs.csv",
        "dnlbench profiles export a.json b.json --format parquet -o runs.parquet",
    ),
)(export.export)


def _version(wanted: bool) -> None:
    if wanted:
        write(f"dnlbench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Benchmark PyTorch networks over depth: run sweeps, save their results as profiles and compare profiles.

    Without a command, dnlbench opens the terminal UI.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        say("dnlbench: error: the current folder no longer exists. Change to another folder and try again")
        raise typer.Exit(ExitCode.USAGE) from error
    if context.invoked_subcommand is None:
        if not tui.has_terminal():
            say(
                "dnlbench: the terminal UI needs a terminal. Without one, name a command, such as "
                "dnlbench run digits-quick. See dnlbench --help"
            )
            raise typer.Exit(ExitCode.USAGE)
        tui.start()


def main() -> None:
    """Run the console script."""
    prepare_streams()
    app()
