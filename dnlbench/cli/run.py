"""``dnlbench run``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from dnlbench.cli.output import ExitCode, guarded, show, write

if TYPE_CHECKING:
    from dnlbench.sweep import Result


@guarded
def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A preset's name or a TOML file.")],
    out: Annotated[Path | None, typer.Option(help="The profile to write. Default: profiles/<name>-<time>.json")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where events live. Default: .dnlbench/runs/<sweep id>")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda, or some devices as in cuda:0,1")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time. Default: one a GPU, or one a core.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of one CPU run. Default: cores / jobs.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a spec value; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Finish what the run directory still lacks.")] = False,
    executor: Annotated[
        Literal["local", "inline"], typer.Option(help="Worker processes, or this process for debugging.")
    ] = "local",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; print the profile's path only.")] = False,
) -> None:
    """Run a sweep and save its profile.

    Runs that the run directory holds already are not done again. The last line of stdout is the profile's path.
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
        executor=executor,
        resume=resume,
    )
    with _terminations_as_interrupts(), create_progress(sys.stderr, quiet=quiet) as progress:
        result = run_sweep(request, progress)
    _report(result, json_=json_, quiet=quiet)
    if result.interrupted:
        print(
            f"dnlbench: interrupted; go on with the same command and --resume (run directory: {result.run_dir})",
            file=sys.stderr,
        )
    raise typer.Exit(_exit_code(result))


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """A request to end, or a closed terminal, ends the sweep as gracefully as Ctrl+C does."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _exit_code(result: Result) -> ExitCode:
    if result.interrupted:
        return ExitCode.INTERRUPTED
    assert result.profile is not None, "a sweep that was not interrupted has a profile"
    return ExitCode.OK if all(run.status == "ok" for run in result.profile.runs) else ExitCode.FAILED
