"""``dnlbench diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dnlbench.cli import options
from dnlbench.cli.output import ExitCode, guarded, say
from dnlbench.cli.signals import graceful


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
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Say how near trained networks are to the regimes that theory speaks of.

    By network and depth: how far consecutive states, layers' maps and parameters are apart, how many units change sides, how
    gradients go through depth. Weights come from the checkpoints of a run directory, or from beside a profile that was saved by
    dnlbench run --keep-weights. Networks of your own are left out, and their code is not executed. Exit code 1 if weights that
    should be there are absent or damaged.
    """
    from dnlbench.cli.formats import DIAGNOSIS, put
    from dnlbench.diagnosis import diagnose as measure
    from dnlbench.diagnosis import find_source
    from dnlbench.executor.weights import weights_folder
    from dnlbench.outputs import check_output
    from dnlbench.store import RunDir

    if output is not None:
        check_output(output, RunDir(source).managed_paths if source.is_dir() else [source, weights_folder(source)])
    found = find_source(source)
    if data_root is not None:
        found = found.with_data_at(data_root)
    with graceful():
        diagnosis = measure(found, device=device, samples=samples, on_progress=None if quiet else _tell)
    put(DIAGNOSIS[format_](diagnosis), output)
    lost = [left for left in diagnosis.left_out if left.ended_well]
    for left in lost:
        say(f"dnlbench: {left.run_id}: {left.reason}")
    if lost:
        raise typer.Exit(ExitCode.FAILED)


def _tell(run: str, number: int, of: int) -> None:
    say(f"[{number:>{len(str(of))}}/{of}] {run}")
