"""``dnlbench attach``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dnlbench.cli import complete, options
from dnlbench.cli.output import ExitCode, guarded, say
from dnlbench.cli.tui import follow, has_terminal

if TYPE_CHECKING:
    from dnlbench.progress import Observer
    from dnlbench.store import RunDir
    from dnlbench.watch import SweepView

POLL_S = 0.25


@guarded
def attach(
    run_dir: Annotated[
        Path | None,
        options.Argument(
            metavar="RUN_DIR",
            help="Run directory of the sweep. Default: the running or most recent sweep in .dnlbench/runs.",
            autocompletion=complete.run_dirs,
        ),
    ] = None,
    plain: Annotated[
        bool,
        options.Option("--plain", help="Print lines instead of opening the terminal UI. Default: off in a terminal."),
    ] = False,
) -> None:
    """Follow a running sweep in the terminal UI.

    Keys control the sweep. Quitting does not affect it. With --plain or without a terminal, the command prints progress until
    the sweep ends. It exits with code 0 if all runs are ok, else with code 1.
    """
    from dnlbench.report.progress import create_progress
    from dnlbench.store import RunDir
    from dnlbench.store.workspace import find_sweep

    source = RunDir(run_dir) if run_dir is not None else find_sweep()
    if has_terminal() and not plain:
        source.read_plan()  # raise its errors here, before the terminal UI opens
        follow(source.root)
        return
    try:
        with create_progress(sys.stderr, quiet=False, show_earlier=True) as progress:
            view = _follow(source, progress)
    except KeyboardInterrupt:
        say(f"dnlbench: detached; the sweep continues. To stop it: dnlbench control {source.root} cancel")
        return
    _print_end(source, view)
    if view.not_ok or len(view.ended) < len(view.plan.runs):
        raise typer.Exit(ExitCode.FAILED)


def _follow(run_dir: RunDir, progress: Observer) -> SweepView:
    """Report a sweep until its engine has exited, however that happens."""
    from dnlbench.errors import RunDirLostError
    from dnlbench.watch import Watcher

    watcher = Watcher(run_dir, run_dir.read_plan())
    progress.on_update(watcher.poll(time.time()))
    while run_dir.engine() is not None:
        progress.on_update(watcher.poll(time.time()))
        time.sleep(POLL_S)
    if not run_dir.sweep_path.exists():
        raise RunDirLostError(f"The run directory {run_dir.root} was removed or renamed while the sweep was running.")
    view = watcher.poll(time.time())
    progress.on_update(view)
    return view


def _print_end(run_dir: RunDir, view: SweepView) -> None:
    total, ended, bad = len(view.plan.runs), len(view.ended), len(view.not_ok)
    reason = view.engine_ended.reason if view.engine_ended else "killed"
    end = {
        "done": "the sweep is finished",
        "interrupted": "the sweep was interrupted",
        "error": "the engine stopped with an error",
        "killed": "the engine exited unexpectedly",
    }[reason]
    text = f"{view.plan.spec.name}: {end}; {ended} of {total} runs ended, {bad} of them not ok"
    if ended < total:
        text += f". To resume, run the same dnlbench run command with --resume (run directory: {run_dir.root})"
    say(text)
