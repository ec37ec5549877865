"""``dnlbench tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from dnlbench.cli import options
from dnlbench.cli.output import guarded, say, show, write_json
from dnlbench.cli.signals import graceful

if TYPE_CHECKING:
    from dnlbench.engine.request import RunRequest
    from dnlbench.executor.tuning import Trials
    from dnlbench.report.grid import Grid


@guarded
def tune(
    spec: options.Spec,
    device: options.Device = "auto",
    jobs: Annotated[
        int | None,
        options.Option(
            min=1,
            metavar="N",
            help="Try only this number of runs at a time. Default: one, and one for each core.",
            rich_help_panel=options.DEVICES,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        options.Option(
            min=1,
            metavar="N",
            help="Try only this number of threads of each CPU run. Default: cores / jobs.",
            rich_help_panel=options.DEVICES,
        ),
    ] = None,
    pack: Annotated[
        str,
        options.Option(
            metavar="N|auto|off",
            help="Try only this number of batched seeds; off means 1. Default: auto, try several.",
            rich_help_panel=options.DEVICES,
        ),
    ] = "auto",
    set_: options.Settings = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the fastest settings for a sweep on this machine.

    Measures the number of runs at a time, of threads and of batched seeds. Trains the point of median cost for a few seconds
    with each candidate, and stores the result for this machine. dnlbench run then uses it for this sweep, and for others with
    the same network settings, batch size, optimizer, precision and image size.
    """
    from dnlbench.engine.request import RunRequest, pack_size
    from dnlbench.engine.tuning import tune as measure
    from dnlbench.executor.tuning import median_point
    from dnlbench.spec import SpecText

    text = SpecText.read(spec, set_ or ())
    request = RunRequest(spec=text, device=device, jobs=jobs, threads=threads, pack=pack_size(pack))
    point = median_point(request.plan)
    title = f"{request.plan.spec.name}: {point.network} L={point.depth}"
    if not quiet:
        say(f"{title}: measuring number of runs, threads and batched seeds …")
    with graceful():
        trials = measure(request)
    if json_:
        _write_json(request, trials)
    else:
        show(_grid(title, trials))
    _warn_of_started_sweep(request, trials)


def _write_json(request: RunRequest, trials: Trials) -> None:
    from dnlbench.executor.tuning import best, median_point, tuning_file

    point = median_point(request.plan)
    content = {
        "file": str(tuning_file().path),
        "network": point.network,
        "depth": point.depth,
        "best": best(trials).model_dump(),
        "trials": [trial.model_dump() for trial in trials],
    }
    write_json(content)


def _grid(title: str, trials: Trials) -> Grid:
    from dnlbench import units
    from dnlbench.executor.tuning import GOOD_ENOUGH, best
    from dnlbench.report.grid import Column, Grid

    heads = ("runs at a time", "threads per run", "batched seeds", "samples/s")
    chosen = best(trials)
    return Grid(
        title=title,
        columns=[*(Column(head=head, numeric=True) for head in heads), Column(head="", no_wrap=True)],
        rows=[
            [
                str(trial.jobs),
                str(trial.threads),
                str(trial.pack_size),
                units.count(trial.samples_per_s),
                "chosen" if trial is chosen else "",
            ]
            for trial in trials
        ],
        note=f"chosen: the first within {units.percent(1 - GOOD_ENOUGH)} of the fastest; dnlbench run uses it from now on",
    )


def _warn_of_started_sweep(request: RunRequest, trials: Trials) -> None:
    from dnlbench.engine.placement import choose_placement, find_run_dir
    from dnlbench.executor.tuning import best
    from dnlbench.store import RunDir

    placement, chosen = choose_placement(request), best(trials)
    run_dir = RunDir(find_run_dir(request))
    differs = (placement.slots[0].threads, placement.pack_size) != (chosen.threads, chosen.pack_size)
    if differs and run_dir.sweep_path.exists():
        say(
            f"dnlbench: the sweep in {run_dir.root} keeps its earlier settings; choose another --run-dir to use the new ones"
        )
