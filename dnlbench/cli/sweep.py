"""Run a sweep for a command: in this process with progress, or in a background process."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dnlbench.cli.gating import Answer, conclude
from dnlbench.cli.output import ExitCode, say, show, write, write_json
from dnlbench.cli.signals import graceful

if TYPE_CHECKING:
    from dnlbench.comparison import Gate, Rule
    from dnlbench.engine.request import RunRequest
    from dnlbench.engine.run import Result


def run_here(request: RunRequest, answer: Answer) -> ExitCode:
    """Run a sweep in this process, save and print its profile, and apply the rules."""
    from dnlbench.engine.run import run_sweep
    from dnlbench.report.progress import create_progress

    with graceful(), create_progress(sys.stderr, quiet=answer.quiet) as progress:
        result = run_sweep(request, progress)
    gate = _gate(result, answer.rules)
    _report(result, gate, answer)
    if result.replaced and not answer.quiet:
        say(f"dnlbench: replaced the existing profile {result.path}")
    warn_of_lost_weights(result.lost_weights)
    if result.interrupted:
        say(f"dnlbench: interrupted; to continue, run the same command with --resume (run directory: {result.run_dir})")
        return ExitCode.INTERRUPTED
    assert result.profile is not None, "a sweep that was not interrupted has a profile"
    return conclude(gate, answer, failed=any(run.status != "ok" for run in result.profile.runs))


def dry_run(request: RunRequest, *, json: bool) -> ExitCode:
    """Print the points of a sweep, and how many of its runs are finished in the run directory. Nothing is written."""
    from dnlbench import units
    from dnlbench.engine.placement import find_run_dir, resolve
    from dnlbench.machine import read_machine
    from dnlbench.report.plan import plan_preview
    from dnlbench.store import RunDir

    plan = request.plan
    run_dir = RunDir(find_run_dir(resolve(request, read_machine()), on_message=say))
    ended = (run_dir.read_history(run).ended for run in plan.runs) if run_dir.sweep_path.exists() else ()
    finished = sum(each is not None and each.status == "ok" for each in ended)
    if json:
        runs = [{"run_id": run.run_id, **run.point.identity, "seed": run.seed} for run in plan.runs]
        write_json({"run_dir": str(run_dir.root), "finished": finished, "runs": runs})
        return ExitCode.OK
    show(plan_preview(plan, f"{plan.spec.name}: {units.counted(len(plan.runs), 'run')}"))
    show(f"{finished} of {units.counted(len(plan.runs), 'run')} finished in {run_dir.root}")
    return ExitCode.OK


def detach(request: RunRequest, answer: Answer) -> ExitCode:
    """Start a background engine for a sweep. It survives this terminal."""
    from dnlbench.engine.launch import launch
    from dnlbench.engine.outcome import check_outcome
    from dnlbench.engine.placement import find_run_dir
    from dnlbench.store import RunDir

    with graceful():
        check_outcome(request)
        run_dir = RunDir(find_run_dir(request, on_message=say))
        pid = launch(request, run_dir)
    if answer.json:
        write_json({"run_dir": str(run_dir.root), "pid": pid})
        return ExitCode.OK
    say(
        f"{request.plan.spec.name}: running in the background as process {pid}\n"
        f"to follow it: dnlbench attach {run_dir.root}\nto stop it:   dnlbench control {run_dir.root} cancel"
    )
    write(str(run_dir.root))
    return ExitCode.OK


def _gate(result: Result, rules: Sequence[Rule]) -> Gate | None:
    """Apply the rules to the saved profile. None if there are no rules, or if the sweep was interrupted."""
    from dnlbench.comparison import candidate_of, gate

    profile = result.profile
    if not rules or profile is None or result.interrupted:
        return None
    title = f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"
    return gate([candidate_of(profile, title)], rules)


def _report(result: Result, gate: Gate | None, answer: Answer) -> None:
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.report.comparison import gate_content
    from dnlbench.report.markdown import profile_parts
    from dnlbench.report.profile import profile_grids

    if result.profile is None:
        return
    add_to_step_summary(profile_parts(result.profile, gate))
    if answer.json:
        content = {
            "profile": str(result.path),
            "run_dir": str(result.run_dir),
            "state": result.profile.state,
            "interrupted": result.interrupted,
            "summary": result.profile.summary.model_dump(mode="json"),
            **({} if gate is None else {"gate": gate_content(gate)}),
        }
        write_json(content)
        return
    if not answer.quiet:
        for grid in profile_grids(result.profile):
            show(grid)
            write("")
    write(str(result.path))


def warn_of_lost_weights(lost: Mapping[str, str]) -> None:
    """Print the successful runs, by id, whose weights were not saved, and the reasons."""
    from dnlbench.engine.outcome import lost_weights_text

    if lost:
        say(f"dnlbench: {lost_weights_text(lost)}")
