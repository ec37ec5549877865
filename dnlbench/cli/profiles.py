"""``dnlbench profiles``: list, show, save and validate saved results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dnlbench import units
from dnlbench.cli import complete, options
from dnlbench.cli.chart import show_chart
from dnlbench.cli.group import Command, Group, examples
from dnlbench.cli.output import ExitCode, guarded, say, show, write

DEFAULT_FOLDER = Path("profiles")
"""Default folder of `dnlbench run` for profiles. It need not exist."""

app = typer.Typer(
    cls=Group,
    help="List, show, save, validate and export profiles.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", cls=Command, epilog=examples("dnlbench profiles list", "dnlbench profiles list results"))
@guarded
def list_(
    folder: Annotated[
        Path, options.Argument(metavar="FOLDER", help="Folder to list. Default: profiles.")
    ] = DEFAULT_FOLDER,
) -> None:
    """List the profiles in a folder.

    Files that are not readable as profiles are listed with the reason. Profiles of the same sweep are listed with the settings
    in which they differ. To check the values as well, use dnlbench profiles validate.
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
        content_text = f"{content.data.name} on {', '.join(content.devices)}{nodes}"
        return [str(path), content.state, created, f"{content.ok} of {len(content.runs)}", content_text, settings[path]]

    contents = dict(list_profiles(folder))
    read = {path: content for path, content in contents.items() if not isinstance(content, ProfileError)}
    differing = differing_settings([settings_text(profile.spec) for profile in read.values()])
    settings = dict(zip(read, differing, strict=True))
    rows = [row(path, content) for path, content in contents.items()]
    if not rows:
        say(f"no profiles in {folder}; dnlbench run saves them in ./profiles")
        return
    short = [Column(head=head, no_wrap=True) for head in ("state", "created (UTC)", "runs ok")]
    columns = [Column(head="profile"), *short, Column(head="data and devices"), Column(head="settings that differ")]
    if not any(settings.values()):
        columns, rows = columns[:-1], [cells[:-1] for cells in rows]
    show(Grid(title=f"{units.counted(len(rows), 'profile')} in {folder}", columns=columns, rows=rows))


@app.command(
    "show",
    cls=Command,
    epilog=examples(
        "dnlbench profiles show profiles/a.json",
        "dnlbench profiles show profiles/a.json --format html -o a.html",
    ),
)
@guarded
def show_(
    profile: options.Profile,
    format_: Annotated[
        str | None,
        options.Option(
            "--format",
            metavar="FORMAT",
            help="Format of the result: table, markdown, json, csv (one row for each epoch), html (a single page with charts), "
            "latex, or another name of dnlbench list formats. Default: by the suffix of -o FILE, else table.",
            autocompletion=complete.profile_formats,
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Show a profile: sweep, machine and results.

    Results are listed by network and depth. Terminals also show a small chart.
    """
    from dnlbench.cli.formats import put
    from dnlbench.outputs import check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.formats import FORMATS, choose_format
    from dnlbench.report.profile import profile_grids, profile_header

    chosen = choose_format("profile", format_, output)
    if output is not None:
        check_output(output, [profile])
    content = read_profile(profile)
    if chosen.profile and (output is not None or chosen is not FORMATS["table"]):
        put(chosen.profile(content), output)
    else:
        write(profile_header(content))
        show_chart(content, sys.stdout)
        for grid in profile_grids(content):
            write("")
            show(grid)


@app.command(
    "save", cls=Command, epilog=examples("dnlbench profiles save .dnlbench/runs/digits-quick-1a2b3c -o a.json")
)
@guarded
def save(
    run_dir: Annotated[
        Path,
        options.Argument(metavar="RUN_DIR", help="Run directory of a sweep.", autocompletion=complete.run_dirs),
    ],
    output: Annotated[
        Path | None,
        options.Option("-o", metavar="FILE", help="File for the profile. Default: profiles/<name>-<time>.json."),
    ] = None,
) -> None:
    """Save the results in a run directory as a profile.

    Trains nothing, and prints the path of the profile.
    """
    from dnlbench.engine.outcome import check_out
    from dnlbench.profiles import read_run_dir, save_profile
    from dnlbench.store import RunDir

    profile = read_run_dir(run_dir)
    if output is not None:
        check_out(output, RunDir(run_dir).managed_paths, "-o")
    write(str(save_profile(profile, output)))


@app.command("validate", cls=Command, epilog=examples("dnlbench profiles validate profiles/*.json"))
@guarded
def validate(
    profiles: Annotated[
        list[Path],
        options.Argument(metavar="PROFILE", help="Files to check.", autocompletion=complete.profiles),
    ],
) -> None:
    """Check profiles against their format.

    Also checks that the summaries follow from the runs. Exits with code 2 if a file is invalid.
    """
    from dnlbench.errors import ProfileError
    from dnlbench.profiles import check_profile, read_profile

    has_problems = False
    for path in profiles:
        try:
            problems = [f"{path}: {problem}" for problem in check_profile(read_profile(path))]
        except ProfileError as error:
            problems = [str(error)]
        if problems:
            say("\n".join(problems))
        else:
            write(f"{path}: ok")
        has_problems = has_problems or bool(problems)
    if has_problems:
        raise typer.Exit(ExitCode.USAGE)
