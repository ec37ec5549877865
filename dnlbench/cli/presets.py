"""``dnlbench presets``: the sweep specs that ship with dnlbench."""

from __future__ import annotations

from typing import Annotated

import typer

from dnlbench.cli.group import Group
from dnlbench.cli.output import ExitCode, guarded, say, show, write

app = typer.Typer(cls=Group, help="List and show presets.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
@guarded
def list_() -> None:
    """List the presets and what each asks."""
    from dnlbench.plan import Plan
    from dnlbench.report.grid import Column, Grid
    from dnlbench.spec import list_presets, parse_spec

    presets = list_presets()
    rows = [[p.name, str(len(Plan(parse_spec(p.text, p.name)).runs)), p.summary] for p in presets]
    columns = [Column(head="preset"), Column(head="runs", numeric=True), Column(head="what it asks")]
    show(Grid(title="Presets: dnlbench run NAME", columns=columns, rows=rows))


@app.command("show")
@guarded
def show_(name: Annotated[str, typer.Argument(metavar="NAME", help="A preset's name.")]) -> None:
    """Print a preset as TOML, to be saved and changed."""
    from dnlbench.spec import list_presets, read_preset

    try:
        write(read_preset(name).text)
    except KeyError as error:
        known = ", ".join(preset.name for preset in list_presets())
        say(f"dnlbench: error: no preset {name!r}. Presets: {known}")
        raise typer.Exit(ExitCode.USAGE) from error
