"""``dnlbench profiles export``: saved results for other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench import units
from dnlbench.cli.output import guarded, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnlbench.report.export import Labeled, RowKind

Format = Literal["csv", "jsonl", "parquet", "tensorboard"]


@guarded
def export(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="PROFILE", help="Saved profiles; several go into one table.")
    ],
    format_: Annotated[Format, typer.Option("--format", help="tensorboard: a folder of event files for each run.")],
    output: Annotated[Path, typer.Option("-o", metavar="PATH", help="The file to write, or a new folder.")],
    rows: Annotated[
        Literal["epochs", "runs", "measurements", "contrasts"] | None,
        typer.Option("--rows", help="What a row is; without it epochs where the study has them, and runs elsewhere."),
    ] = None,
) -> None:
    """Export profiles as a table, or for TensorBoard.

    Every row names its profile and, but for contrasts, its run. --rows measurements has one for each number that a run without
    epochs has found; --rows contrasts has one for each depth against the one before, and each network against the first one.
    Parquet and TensorBoard need the extras `parquet` and `tensorboard` of dnlbench.
    """
    from dnlbench.errors import ConfigurationError
    from dnlbench.outputs import check_folder, check_output
    from dnlbench.profiles import read_profile
    from dnlbench.report.export import labeled

    files = [path.resolve() for path in profiles]
    for place, path in enumerate(profiles):
        if files[place] in files[:place]:
            raise ConfigurationError(f"{path}: named twice; all of it would be exported twice")
    if format_ == "tensorboard" and rows is not None:
        raise ConfigurationError(
            "--rows is for tables; TensorBoard gets all that goes by epochs, and the runs' results"
        )
    if format_ == "tensorboard":
        check_folder(output.absolute().parent, f"-o {output}")
    else:
        check_output(output, profiles)
    named = labeled({path: read_profile(path) for path in profiles})
    if format_ == "tensorboard":
        from dnlbench.report.export.tensorboard import write_runs

        said = units.counted(write_runs(named, output), "run")
    else:
        said = _write_table(named, format_, rows, output)
    say(f"{output}: {said}")


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
