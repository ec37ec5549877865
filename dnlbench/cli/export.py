"""``dnlbench profiles export``: saved results for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from dnlbench import units
from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dnlbench.report.export import Labeled, RowKind, Table


@guarded
def export(
    profiles: Annotated[
        list[Path],
        options.Argument(
            metavar="PROFILE", help="Profiles to export into one table.", autocompletion=complete.profiles
        ),
    ],
    output: Annotated[Path, options.Option("-o", metavar="PATH", help="File to write; a new folder for tensorboard.")],
    format_: Annotated[
        str | None,
        options.Option(
            "--format",
            metavar="FORMAT",
            help="Format to write: csv, jsonl, parquet, tensorboard (a folder with event files for each run), or another name "
            "of dnlbench list formats. Default: by the suffix of -o PATH.",
            autocompletion=complete.export_formats,
        ),
    ] = None,
    rows: Annotated[
        Literal["epochs", "runs", "measurements", "contrasts", "tuned"] | None,
        options.Option(
            "--rows",
            metavar="ROWS",
            help="Content of the rows: epochs, runs, measurements, contrasts or tuned. Default: epochs if the study has "
            "epochs, else runs.",
        ),
    ] = None,
) -> None:
    """Export profiles as a table or for TensorBoard.

    Each row names its profile and, except for contrasts and tuned, its run. --rows measurements has one row for each measured
    value of a run without epochs. --rows contrasts compares each depth with the previous one, and each network with the first
    one. --rows tuned has one row for each best value of the tuned setting.

    Parquet and TensorBoard require an extra: pip install 'dnlbench[parquet]' or 'dnlbench[tensorboard]'.
    """
    from dnlbench.errors import ConfigurationError
    from dnlbench.outputs import check_folder, check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.export import labeled
    from dnlbench.report.formats import choose_format

    files = [path.resolve() for path in profiles]
    for index, path in enumerate(profiles):
        if files[index] in files[:index]:
            raise ConfigurationError(f"{path}: named twice; name each profile once")
    chosen = choose_format("export", format_, output)
    if chosen.export_folder and rows is not None:
        raise ConfigurationError(
            f"--rows: does not apply to --format {format_}, which exports all epochs and results. Remove --rows"
        )
    if chosen.export_folder:
        check_folder(output.absolute().parent, f"-o {output}")
    else:
        check_output(output, profiles)
    named = labeled({path: read_profile(path) for path in profiles})
    if chosen.export_folder:
        say(f"{output}: {units.counted(chosen.export_folder(named, output), 'run')}")
    elif chosen.export:
        say(f"{output}: {_write_file(chosen.export, named, rows, output)}")


def _write_file(
    export: Callable[[Table, Sequence[Labeled]], bytes],
    profiles: Sequence[Labeled],
    rows: RowKind | None,
    output: Path,
) -> str:
    from dnlbench.outputs import write_output
    from dnlbench.report.export import make_table

    table = make_table(profiles, rows)
    write_output(output, export(table, profiles))
    return f"{units.counted(len(table.rows), 'row')} ({table.kind}), {units.counted(len(table.columns), 'column')}"
