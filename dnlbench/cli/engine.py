"""``python -m dnlbench.engine``: an engine in a separate process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dnlbench.cli.gating import Answer
from dnlbench.cli.output import guarded, prepare_streams
from dnlbench.cli.signals import end_with_parent
from dnlbench.cli.sweep import run_here


@guarded
def engine(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run directory with a request.json.")],
    parent_pipe: Annotated[
        bool, typer.Option("--parent-pipe", help="Interrupt the sweep when standard input closes. Default: off.")
    ] = False,
) -> None:
    """Run the sweep requested by request.json in the run directory, and save its profile."""
    from dnlbench.engine.request import read_request
    from dnlbench.store import RunDir

    if parent_pipe:
        end_with_parent()
    raise typer.Exit(run_here(read_request(RunDir(run_dir)), Answer()))


def main() -> None:
    """Run the program."""
    prepare_streams()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(engine)
    app()
