"""``dnlbench run``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from dnlbench.cli.output import ExitCode, guarded, show, write

if TYPE_CHECKING:
    from dnlbench.sweep import Request, Result


@guarded
def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A preset's name or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="The profile to write. Default: profiles/<name>-<time>.json")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where events live. Default: .dnlbench/runs/<sweep id>")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda, or some devices as in cuda:0,1")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time. Default: one a GPU, or one a core.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of one CPU run. Default: cores / jobs.")] = None,
    pack: Annotated[
        str, typer.Option(metavar="N|auto|off", help="Seeds of a point that train together, at most; off is one.")
    ] = "auto",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a spec value; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Finish what the run directory still lacks.")] = False,
    executor: Annotated[
        Literal["local", "inline"], typer.Option(help="Worker processes, or this process for debugging.")
    ] = "local",
    checkpoint_every: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Longest training without a checkpoint.")
    ] = 30.0,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the final weights beside the profile, for dnlbench diagnose.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it to a process of its own, which outlives this terminal.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; print the profile's path only.")] = False,
) -> None:
    """Run a sweep and save its profile.

    Runs that the run directory holds already are not done again. The last line of stdout is the profile's path; with
    --detach it is the run directory, for dnlbench attach and dnlbench control.
    """
    from dnlbench.cli.progress import create_progress
    from dnlbench.plan import Plan
    from dnlbench.spec import read_spec
    from dnlbench.sweep import Request, run_sweep

    request = Request(
        plan=Plan(read_spec(spec, set_ or ())),
        out=out,
        run_dir=run_dir,
        device=device,
        jobs=jobs,
        threads=threads,
        pack=_pack(pack),
        executor=executor,
        checkpoint_s=checkpoint_every,
        resume=resume,
        keep_weights=keep_weights,
    )
    if detach:
        _detach(request, json_=json_, quiet=quiet)
        return
    with _terminations_as_interrupts(), _surviving_the_terminal(), create_progress(sys.stderr, quiet=quiet) as progress:
        result = run_sweep(request, progress)
    _report(result, json_=json_, quiet=quiet)
    if keep_weights:
        _warn_of_lost_weights(result)
    if result.interrupted:
        print(
            f"dnlbench: interrupted; go on with the same command and --resume (run directory: {result.run_dir})",
            file=sys.stderr,
        )
    raise typer.Exit(_exit_code(result))


def _pack(text: str) -> int | None:
    """Runs that train together, at most; None for ``auto``."""
    from dnlbench.errors import ConfigurationError

    named = {"auto": None, "off": 1}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise ConfigurationError(f"--pack {text}: write a whole number from 1 on, auto or off")


def _detach(request: Request, *, json_: bool, quiet: bool) -> None:
    """The same command, as a process of its own; what has to be measured for it is measured here."""
    from dnlbench.cli.progress import create_progress
    from dnlbench.launch import launch_engine
    from dnlbench.store import RunDir
    from dnlbench.sweep import find_run_dir, settle, settled_options

    with create_progress(sys.stderr, quiet=quiet) as progress:
        settled = settle(request, progress)
    run_dir = RunDir(find_run_dir(settled))
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    arguments += settled_options(request, settled)  # of an option that is there twice the last one counts
    if request.run_dir is None:
        arguments += ["--run-dir", str(run_dir.root)]
    pid = launch_engine(arguments, run_dir)
    if json_:
        write(json.dumps({"run_dir": str(run_dir.root), "pid": pid}))
        return
    print(
        f"{request.plan.spec.name}: process {pid} carries it out, whatever becomes of this terminal.\n"
        f"follow it:  dnlbench attach {run_dir.root}\nstop it:    dnlbench control {run_dir.root} cancel",
        file=sys.stderr,
    )
    write(str(run_dir.root))


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """A request to end ends the sweep as gracefully as Ctrl+C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _surviving_the_terminal() -> Iterator[None]:
    """A terminal that is closed does not end the sweep, which goes on with nobody to talk to."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return

    terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]  # none is, once it is closed

    def fall_silent(number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in terminals:
            os.dup2(nowhere, stream)

    before = signal.signal(signal.SIGHUP, fall_silent)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _report(result: Result, *, json_: bool, quiet: bool) -> None:
    from dnlbench.report.profile import profile_grids

    if result.profile is None:
        return
    if json_:
        summary = result.profile.summary.model_dump(mode="json")
        content = {
            "profile": str(result.path),
            "run_dir": str(result.run_dir),
            "state": result.profile.state,
            "interrupted": result.interrupted,
            "summary": summary,
        }
        write(json.dumps(content, ensure_ascii=False))
        return
    if not quiet:
        for grid in profile_grids(result.profile):
            show(grid)
            write("")
    write(str(result.path))


def _warn_of_lost_weights(result: Result) -> None:
    """Of runs that ended well, but whose last checkpoint is gone or of another epoch."""
    runs = result.profile.runs if result.profile else ()
    lost = [run.run_id for run in runs if run.status == "ok" and run.weights_sha256 is None]
    if lost:
        print(
            f"dnlbench: the weights of {len(lost)} runs could not be kept, since {result.run_dir} has no checkpoint of "
            f"their last epoch: {', '.join(lost[:3])}{', …' if len(lost) > 3 else ''}",
            file=sys.stderr,
        )


def _exit_code(result: Result) -> ExitCode:
    if result.interrupted:
        return ExitCode.INTERRUPTED
    assert result.profile is not None, "a sweep that was not interrupted has a profile"
    return ExitCode.OK if all(run.status == "ok" for run in result.profile.runs) else ExitCode.FAILED
