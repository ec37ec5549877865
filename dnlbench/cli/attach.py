"""``dnlbench attach``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dnlbench.cli.output import ExitCode, guarded, say
from dnlbench.cli.tui import follow, has_terminal

if TYPE_CHECKING:
    from dnlbench.progress import Observer
    from dnlbench.store import RunDir
    from dnlbench.watch import SweepView

LOOK_S = 0.25


@guarded
def attach(
    run_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_DIR",
            help="Default: the sweep below .dnlbench/runs that is running, or ran last.",
            show_default=False,
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines instead of the terminal UI, as without a terminal.")
    ] = False,
) -> None:
    """Follow a sweep: in a terminal with the terminal UI, where keys steer it. Leaving does it no harm.

    With --plain, and without a terminal, it follows until the sweep ends, and ends with 0 if all its runs are ok, with 1
    otherwise.
    """
    from dnlbench.cli.progress import create_progress
    from dnlbench.store import RunDir
    from dnlbench.store.workspace import find_sweep

    found = RunDir(run_dir) if run_dir is not None else find_sweep()
    if has_terminal() and not plain:
        found.read_plan()  # an error about it belongs on the command line
        follow(found.root)
        return
    try:
        with create_progress(sys.stderr, quiet=False, whole=True) as progress:
            view = _follow(found, progress)
    except KeyboardInterrupt:
        say(f"dnlbench: left; the sweep goes on. Stop it with: dnlbench control {found.root} cancel")
        return
    _tell_end(found, view)
    if view.not_ok or len(view.ended) < len(view.plan.runs):
        raise typer.Exit(ExitCode.FAILED)


def _follow(run_dir: RunDir, progress: Observer) -> SweepView:
    """Looks at a sweep until its engine has ended, in whatever way."""
    from dnlbench.errors import RunDirLostError
    from dnlbench.watch import Watcher

    watcher = Watcher(run_dir, run_dir.read_plan())
    progress.on_update(watcher.poll(time.time()))
    while run_dir.engine() is not None:
        progress.on_update(watcher.poll(time.time()))
        time.sleep(LOOK_S)
    if not run_dir.sweep_path.exists():
        raise RunDirLostError(f"The run directory {run_dir.root} was removed or renamed while the sweep was running.")
    view = watcher.poll(time.time())
    progress.on_update(view)
    return view


def _tell_end(run_dir: RunDir, view: SweepView) -> None:
    total, ended, bad = len(view.plan.runs), len(view.ended), len(view.not_ok)
    reason = view.engine_ended.reason if view.engine_ended else "killed"
    how = {"done": "done", "interrupted": "interrupted", "error": "ended by an error", "killed": "gone without a word"}[
        reason
    ]
    text = f"{view.plan.spec.name}: its engine is {how}; {ended} of {total} runs have ended, {bad} of them not ok"
    if ended < total:
        text += f". Go on with the same dnlbench run command and --resume (run directory: {run_dir.root})"
    say(text)
