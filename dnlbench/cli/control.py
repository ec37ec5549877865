"""``dnlbench control``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dnlbench.cli import complete, options
from dnlbench.cli.output import ExitCode, guarded, say, write


@guarded
def control(
    run_dir: Annotated[
        Path,
        options.Argument(metavar="RUN_DIR", help="Run directory of the sweep.", autocompletion=complete.run_dirs),
    ],
    action: Annotated[
        Literal["pause", "resume", "cancel", "retry", "release"],
        options.Argument(metavar="ACTION", help="Action: pause, resume, cancel, retry or release."),
    ],
    run_ids: Annotated[
        list[str] | None,
        options.Argument(metavar="RUN_ID", help="Runs to control. Default: the whole sweep."),
    ] = None,
    device: Annotated[
        str | None,
        options.Option(
            metavar="DEVICE",
            help="Pause, resume or release only this device (cuda:1) or slot (cuda:1/0). Default: all devices.",
        ),
    ] = None,
) -> None:
    """Pause, resume, cancel or retry a running sweep.

    Works from any terminal of the user who started the sweep.

    \b
    pause    Suspend runs at their next training step, with a checkpoint.
    resume   Resume what was paused or released.
    cancel   Cancel runs; without RUN_ID stop the sweep like Ctrl+C.
    retry    Repeat failed runs, now or with the next dnlbench run --resume.
    release  Pause a device and stop its workers to free its memory.
    """  # noqa: D301 -- the backspace keeps the lines apart in --help
    from dnlbench.engine.control import give_command
    from dnlbench.events import Command
    from dnlbench.store import RunDir

    command = Command(action=action, run_ids=tuple(run_ids or ()), device=device)
    verdict = give_command(RunDir(run_dir), command)
    if verdict.refused:
        say(f"dnlbench: error: {verdict.answer}")
        raise typer.Exit(ExitCode.USAGE)
    write(verdict.answer)
