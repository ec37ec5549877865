"""``dnlbench diagnose``."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench.cli.output import ExitCode, drawn, guarded, write

if TYPE_CHECKING:
    from dnlbench.diagnosis import Diagnosis


@guarded
def diagnose(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR|PROFILE", help="A finished training sweep, or a profile with its weights."),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or one device as in cuda:0")] = "cpu",
    samples: Annotated[int, typer.Option(min=1, help="Training images to measure on.")] = 128,
    data_root: Annotated[Path | None, typer.Option(help="Where the data are now. Default: as in the spec.")] = None,
    format_: Annotated[
        Literal["table", "markdown", "json", "csv"], typer.Option("--format", help="csv: one row a layer and figure.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("-o", help="Write to a file instead of stdout.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Say how near trained networks are to the regimes that theory speaks of.

    By network and depth: how far consecutive states, layers' maps and parameters are apart, how many units change sides, how
    gradients go through depth. Weights come from the checkpoints of a run directory, or from beside a profile that was saved by
    dnlbench run --keep-weights. Exit code 1 if weights that should be there are absent or damaged.
    """
    from dnlbench.cli.run import graceful
    from dnlbench.diagnosis import diagnose as measure
    from dnlbench.diagnosis import find_source
    from dnlbench.executor.weights import weights_folder
    from dnlbench.outputs import check_output, write_output
    from dnlbench.store import RunDir

    if output is not None:
        check_output(output, RunDir(source).own_paths if source.is_dir() else [source, weights_folder(source)])
    found = find_source(source)
    if data_root is not None:
        found = found.with_data_at(data_root)
    with graceful():
        diagnosis = measure(found, device=device, samples=samples, tell=None if quiet else _tell)
    text = _formatted(diagnosis, format_, io.StringIO() if output else sys.stdout)
    if output is None:
        write(text)
    else:
        write_output(output, text.encode())
    lost = [left for left in diagnosis.left_out if left.ended_well]
    for left in lost:
        print(f"dnlbench: {left.run_id}: {left.reason}", file=sys.stderr)
    if lost:
        raise typer.Exit(ExitCode.FAILED)


def _tell(run: str, number: int, of: int) -> None:
    print(f"[{number:>{len(str(of))}}/{of}] {run}", file=sys.stderr, flush=True)


def _formatted(diagnosis: Diagnosis, format_: Literal["table", "markdown", "json", "csv"], stream: IO[str]) -> str:
    from dnlbench.report.diagnosis import diagnosis_csv, diagnosis_facts, diagnosis_grids

    if format_ == "json":
        return diagnosis.to_json()
    if format_ == "csv":
        return diagnosis_csv(diagnosis)
    grids = list(diagnosis_grids(diagnosis))
    if format_ == "markdown":
        return "\n\n".join([f"```\n{diagnosis_facts(diagnosis)}\n```", *(grid.to_markdown() for grid in grids)])
    return "\n".join([f"{diagnosis_facts(diagnosis)}\n", *(drawn(grid, stream) for grid in grids)])
