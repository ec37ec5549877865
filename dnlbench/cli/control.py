"""``dnlbench control``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dnlbench.cli.output import ExitCode, guarded, say, write


@guarded
def control(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The sweep's run directory.")],
    action: Annotated[
        Literal["pause", "resume", "cancel", "retry", "release"],
        typer.Argument(metavar="ACTION", help="pause, resume, cancel, retry or release."),
    ],
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN_ID", help="Runs. Default: the whole sweep.", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="A device, as cuda:1, or one slot of it, as cuda:1/0, to pause, release or resume."),
    ] = None,
) -> None:
    """Steer a sweep that is running.

    From any terminal of the user who started it.

    \b
    pause    put runs aside at their next training step, with a checkpoint
    resume   take up what was paused or released
    cancel   end runs for good; without RUN_ID end the sweep, as Ctrl+C does
    retry    do runs again that ended badly, at once or, if no engine is at work, with the next run --resume
    release  pause a device and end its workers, so that its memory is free for others
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
