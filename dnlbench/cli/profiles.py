"""``dnlbench profiles``: list, show and validate saved results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dnlbench import units
from dnlbench.cli import options
from dnlbench.cli.chart import show_chart
from dnlbench.cli.group import Group
from dnlbench.cli.output import ExitCode, guarded, say, show, write

DEFAULT_FOLDER = Path("profiles")
"""Where `dnlbench run` saves profiles; it is absent until then, which is no error."""

app = typer.Typer(
    cls=Group, help="List, show, save, validate, export profiles.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
@guarded
def list_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to look.")] = DEFAULT_FOLDER,
) -> None:
    """List the profiles of a folder, files that are none with the reason.

    Profiles of one sweep's name are listed with the settings in which they differ. The values of runs are not checked;
    `dnlbench profiles validate` does that.
    """
    from dnlbench.errors import ConfigurationError, ProfileError
    from dnlbench.profiles import ListedProfile, differing_settings, list_profiles, settings_text
    from dnlbench.report.grid import Column, Grid

    if not folder.is_dir() and (folder.exists() or folder != DEFAULT_FOLDER):
        raise ConfigurationError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")

    def row(path: Path, content: ListedProfile | ProfileError) -> list[str]:
        if isinstance(content, ProfileError):
            return [str(path), "not readable", "", "", str(content).removeprefix(f"{path}: "), ""]
        created = f"{content.created:%Y-%m-%d %H:%M}"
        nodes = f", {content.nodes} node{'' if content.nodes == 1 else 's'}" if content.nodes else ""
        made_of = f"{content.data.name} on {', '.join(content.devices)}{nodes}"
        return [str(path), content.state, created, f"{content.ok} of {len(content.runs)}", made_of, settings[path]]

    found = dict(list_profiles(folder))
    read = {path: content for path, content in found.items() if not isinstance(content, ProfileError)}
    differing = differing_settings([settings_text(profile.spec) for profile in read.values()])
    settings = dict(zip(read, differing, strict=True))
    rows = [row(path, content) for path, content in found.items()]
    if not rows:
        say(f"no profiles in {folder}; `dnlbench run` saves them in ./profiles")
        return
    short = [Column(head=head, no_wrap=True) for head in ("state", "created (UTC)", "runs ok")]
    columns = [Column(head="profile"), *short, Column(head="what"), Column(head="settings that differ")]
    if not any(settings.values()):
        columns, rows = columns[:-1], [cells[:-1] for cells in rows]
    show(Grid(title=f"{units.counted(len(rows), 'profile')} in {folder}", columns=columns, rows=rows))


@app.command("show")
@guarded
def show_(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="A saved profile or a run directory.")],
    format_: Annotated[
        Literal["table", "markdown", "json", "csv", "html", "latex"],
        typer.Option("--format", help="csv: one row an epoch. html: one page with charts."),
    ] = "table",
    output: options.Output = None,
) -> None:
    """Show a profile: what was run on what, and the result by network and depth; in a terminal with a small chart."""
    from dnlbench.cli.formats import PROFILE, put
    from dnlbench.outputs import check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.profile import profile_grids, profile_header

    if output is not None:
        check_output(output, [profile])
    content = read_profile(profile)
    if output is not None or format_ != "table":
        put(PROFILE[format_](content), output)
    else:
        write(profile_header(content))
        show_chart(content, sys.stdout)
        for grid in profile_grids(content):
            write("")
            show(grid)


@app.command("save")
@guarded
def save(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run directory of a sweep.")],
    output: Annotated[
        Path | None, typer.Option("-o", help="The profile to write. Default: profiles/<name>-<time>.json")
    ] = None,
) -> None:
    """Save the profile of a run directory without training, wherever its sweep ran. Print the profile's path."""
    from dnlbench.engine.outcome import check_out
    from dnlbench.profiles import read_run_dir, save_profile
    from dnlbench.store import RunDir

    profile = read_run_dir(run_dir)
    if output is not None:
        check_out(output, RunDir(run_dir).managed_paths, "-o")
    write(str(save_profile(profile, output)))


@app.command("validate")
@guarded
def validate(profiles: Annotated[list[Path], typer.Argument(metavar="PROFILE", help="Files to check.")]) -> None:
    """Check that files are profiles, and that all that is derived follows from the runs. Exit code 2 if one is not."""
    from dnlbench.errors import ProfileError
    from dnlbench.profiles import check_profile, read_profile

    found = False
    for path in profiles:
        try:
            problems = [f"{path}: {problem}" for problem in check_profile(read_profile(path))]
        except ProfileError as error:
            problems = [str(error)]
        if problems:
            say("\n".join(problems))
        else:
            write(f"{path}: ok")
        found = found or bool(problems)
    if found:
        raise typer.Exit(ExitCode.USAGE)
