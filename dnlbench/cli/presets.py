"""``dnlbench presets``: the specs that ship with dnlbench."""

from __future__ import annotations

from typing import Annotated

import typer

from dnlbench.cli import complete, options
from dnlbench.cli.group import Command, Group, examples
from dnlbench.cli.output import ExitCode, guarded, say, show, write

app = typer.Typer(
    cls=Group,
    help="List and print the specs that ship with dnlbench.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", cls=Command, epilog=examples("dnlbench presets list"))
@guarded
def list_() -> None:
    """List the presets with the question that each one answers."""
    from dnlbench.plan import Plan
    from dnlbench.report.grid import Column, Grid
    from dnlbench.spec import list_presets, parse_spec

    presets = list_presets()
    rows = [[p.name, str(len(Plan(parse_spec(p.text, p.name)).runs)), p.summary] for p in presets]
    columns = [Column(head="preset"), Column(head="runs", numeric=True), Column(head="question")]
    show(Grid(title="Presets: dnlbench run NAME", columns=columns, rows=rows))


@app.command("show", cls=Command, epilog=examples("dnlbench presets show digits-quick > my.toml"))
@guarded
def show_(
    name: Annotated[str, options.Argument(metavar="NAME", help="Name of the preset.", autocompletion=complete.presets)],
) -> None:
    """Print a preset as TOML, which you can save and edit."""
    from dnlbench.spec import list_presets, read_preset

    try:
        write(read_preset(name).text)
    except KeyError as error:
        known = ", ".join(preset.name for preset in list_presets())
        say(f"dnlbench: error: no preset {name!r}. Presets: {known}")
        raise typer.Exit(ExitCode.USAGE) from error
