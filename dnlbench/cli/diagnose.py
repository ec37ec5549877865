"""``dnlbench diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dnlbench.cli import complete, options
from dnlbench.cli.output import ExitCode, guarded, say
from dnlbench.cli.signals import graceful


@guarded
def diagnose(
    source: Annotated[
        Path,
        options.Argument(
            metavar="RUN_DIR|PROFILE",
            help="Run directory of a finished training sweep, or a profile with saved weights.",
            autocompletion=complete.sources,
        ),
    ],
    device: Annotated[
        str,
        options.Option(
            metavar="DEVICE",
            help="Device to measure on: auto, cpu, mps, cuda or one GPU such as cuda:0. Default: cpu.",
            autocompletion=complete.devices,
        ),
    ] = "cpu",
    samples: Annotated[
        int, options.Option(min=1, metavar="N", help="Number of training images to measure on. Default: 128.")
    ] = 128,
    data_root: Annotated[
        Path | None, options.Option(metavar="FOLDER", help="Folder of the data set. Default: data.root of the spec.")
    ] = None,
    format_: Annotated[
        str | None,
        options.Option(
            "--format",
            metavar="FORMAT",
            help="Format of the result: table, markdown, json, csv (one row for each layer and metric), or another name of "
            "dnlbench list formats. Default: by the suffix of -o FILE, else table.",
            rich_help_panel=options.OUTPUT,
            autocompletion=complete.diagnosis_formats,
        ),
    ] = None,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure how close trained networks are to the deep-layer limit.

    Reports by network and depth: the distance between consecutive states, layer maps and parameters, the fraction of ReLU units
    whose sign differs between consecutive layers, and gradient norms over depth. Reads the weights from the checkpoints of a
    run directory, or beside a profile saved with dnlbench run --keep-weights. Skips custom networks and never executes their
    code.

    Exits with code 1 if weights are missing or damaged.
    """
    from dnlbench.cli.formats import put
    from dnlbench.diagnosis import diagnose as measure
    from dnlbench.diagnosis import find_source
    from dnlbench.executor.weights import weights_folder
    from dnlbench.outputs import check_output
    from dnlbench.report.formats import choose_format
    from dnlbench.store import RunDir

    chosen = choose_format("diagnosis", format_, output)
    if output is not None:
        check_output(output, RunDir(source).managed_paths if source.is_dir() else [source, weights_folder(source)])
    weights = find_source(source)
    if data_root is not None:
        weights = weights.with_data_at(data_root)
    with graceful():
        diagnosis = measure(weights, device=device, samples=samples, on_progress=None if quiet else _print_progress)
    if chosen.diagnosis:
        put(chosen.diagnosis(diagnosis), output)
    lost = [left for left in diagnosis.left_out if left.ended_well]
    for left in lost:
        say(f"dnlbench: {left.run_id}: {left.reason}")
    if lost:
        raise typer.Exit(ExitCode.FAILED)


def _print_progress(run: str, number: int, total: int) -> None:
    say(f"[{number:>{len(str(total))}}/{total}] {run}")
