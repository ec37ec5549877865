"""``dnlbench profiles export``: saved results for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from dnlbench import units
from dnlbench.cli import complete, options
from dnlbench.cli.output import guarded, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnlbench.report.export import Labeled, RowKind

Format = Literal["csv", "jsonl", "parquet", "tensorboard"]


@guarded
def export(
    profiles: Annotated[
        list[Path],
        options.Argument(
            metavar="PROFILE", help="Profiles to export into one table.", autocompletion=complete.profiles
        ),
    ],
    format_: Annotated[
        Format,
        options.Option(
            "--format",
            metavar="FORMAT",
            help="Format to write: csv, jsonl, parquet or tensorboard (a folder with event files for each run).",
        ),
    ],
    output: Annotated[Path, options.Option("-o", metavar="PATH", help="File to write; a new folder for tensorboard.")],
    rows: Annotated[
        Literal["epochs", "runs", "measurements", "contrasts"] | None,
        options.Option(
            "--rows",
            metavar="ROWS",
            help="Content of the rows: epochs, runs, measurements or contrasts. Default: epochs if the study has epochs, "
            "else runs.",
        ),
    ] = None,
) -> None:
    """Export profiles as a table or for TensorBoard.

    Each row names its profile and, except for contrasts, its run. --rows measurements has one row for each measured value of a
    run without epochs. --rows contrasts compares each depth with the previous one, and each network with the first one.

    Parquet and TensorBoard require an extra: pip install 'dnlbench[parquet]' or 'dnlbench[tensorboard]'.
    """
    from dnlbench.errors import ConfigurationError
    from dnlbench.outputs import check_folder, check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.export import labeled

    files = [path.resolve() for path in profiles]
    for index, path in enumerate(profiles):
        if files[index] in files[:index]:
            raise ConfigurationError(f"{path}: named twice; name each profile once")
    if format_ == "tensorboard" and rows is not None:
        raise ConfigurationError(
            "--rows: does not apply to --format tensorboard, which exports all epochs and results. Remove --rows"
        )
    if format_ == "tensorboard":
        check_folder(output.absolute().parent, f"-o {output}")
    else:
        check_output(output, profiles)
    named = labeled({path: read_profile(path) for path in profiles})
    if format_ == "tensorboard":
        from dnlbench.report.export.tensorboard import write_runs

        text = units.counted(write_runs(named, output), "run")
    else:
        text = _write_table(named, format_, rows, output)
    say(f"{output}: {text}")


def _write_table(
    profiles: Sequence[Labeled], format_: Literal["csv", "jsonl", "parquet"], rows: RowKind | None, output: Path
) -> str:
    from dnlbench.outputs import write_output
    from dnlbench.report.export import make_table
    from dnlbench.report.export.parquet import to_parquet
    from dnlbench.report.export.text import to_csv, to_json_lines

    table = make_table(profiles, rows)
    match format_:
        case "csv":
            content = to_csv(table).encode()
        case "jsonl":
            content = to_json_lines(table).encode()
        case "parquet":
            content = to_parquet(table, profiles)
    write_output(output, content)
    return f"{units.counted(len(table.rows), 'row')} ({table.kind}), {units.counted(len(table.columns), 'column')}"
