"""``dnlbench run``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from dnlbench import units
from dnlbench.cli.gating import OnInconclusive, exit_code, tell
from dnlbench.cli.output import ExitCode, guarded, say, show, write, write_json

if TYPE_CHECKING:
    from dnlbench.compare import Gate, Rule
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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            help="Interpreter of another environment, a base whose runs take turns with these. Saves two profiles.",
        ),
    ] = None,
    against_set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Override a spec value of the base alone; repeatable."),
    ] = None,
    out_base: Annotated[
        Path | None, typer.Option(help="The base's profile. Default: beside the other, <name>-base.json")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Exit with code 3 if RULE is violated: depth:loss:worse or network:loss:5%, and with --against also "
            "loss:worse, throughput:5%, failed, … as in compare. Repeatable.",
        ),
    ] = None,
    inconclusive: OnInconclusive = "warn",
    resume: Annotated[bool, typer.Option("--resume", help="Finish what the run directory still lacks.")] = False,
    executor: Annotated[
        Literal["local", "inline", "ray"],
        typer.Option(help="Worker processes, this process for debugging, or the machines of a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            metavar="HOST:PORT|auto",
            help="Of the cluster that this machine is part of. Default: one of this machine alone.",
        ),
    ] = None,
    ray_insecure: Annotated[
        bool, typer.Option("--ray-insecure", help="Make do with a cluster that does not ask for a token.")
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Longest training without a checkpoint.")
    ] = 30.0,
    take_turns: Annotated[
        str | None,
        typer.Option(
            hidden=True,
            help="For dnlbench run --against, which starts its sides with it: every run waits for dnlbench control RUN_DIR "
            "resume RUN_ID, and the sweep ends when standard input does. The session's name.",
        ),
    ] = None,
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

    With --against or --against-set each run takes turns with the same run of a base: another environment, other settings,
    or both. The two are compared, and --fail-on makes the exit code say what came of it. Without a base, --fail-on tests each
    depth against the one before, and each network against the first one at equal depth.
    """
    from dnlbench.cli.progress import create_progress
    from dnlbench.plan import Plan
    from dnlbench.spec import read_spec
    from dnlbench.sweep import Request, run_sweep
    from dnlbench.tui.settings import settings_path, settings_problems

    for problem in [] if take_turns else settings_problems(settings_path()):
        say(f"dnlbench: warning: {problem}")
    request = Request(
        plan=Plan(read_spec(spec, set_ or ())),
        inputs=(Path(spec),),
        out=out,
        run_dir=run_dir,
        device=device,
        jobs=jobs,
        threads=threads,
        pack=pack_size(pack),
        executor=executor,
        ray_address=ray_address,
        ray_insecure=ray_insecure,
        checkpoint_s=checkpoint_every,
        resume=resume,
        session=take_turns,
        keep_weights=keep_weights,
    )
    if against is not None or against_set:
        _refuse_if(detach, "--detach", "two sides that take turns")
        _refuse_if(executor == "ray", "--executor ray", "two sides that take turns, which need one machine")
        asked = _Asked(against=against, settings=against_set or (), out_base=out_base, rules=fail_on or ())
        answer = {"inconclusive": inconclusive, "json": json_, "quiet": quiet}
        raise typer.Exit(_run_against(request, spec, set_ or (), asked, answer))
    _refuse_if(out_base is not None, "--out-base", "a sweep without --against or --against-set")
    _refuse_if(detach and bool(fail_on), "--fail-on", "--detach, which ends before the sweep does")
    rules = _rules_within(fail_on or (), request.plan.spec.study)
    if detach:
        with graceful():
            _detach(request, json_=json_)
        return
    if take_turns is not None:
        _end_with_standard_input()
    with graceful(), create_progress(sys.stderr, quiet=quiet) as progress:
        result = run_sweep(request, progress)
    gate = _gate(result, rules)
    _report(result, gate, json_=json_, quiet=quiet)
    if result.replaced and not quiet:
        say(f"dnlbench: replaced the profile that was in {result.path}")
    warn_of_lost_weights(result.lost_weights)
    if result.interrupted:
        say(f"dnlbench: interrupted; to continue, run the same command with --resume (run directory: {result.run_dir})")
    if gate is not None:
        tell(gate)
    raise typer.Exit(_exit_code(result, gate, inconclusive))


def _rules_within(texts: Sequence[str], study: str) -> list[Rule]:
    """Rules that a single profile can be judged by.

    Raises:
        ConfigurationError: if one compares two profiles.
    """
    from dnlbench.compare import parse_rule
    from dnlbench.errors import ConfigurationError

    rules = [parse_rule(text, study) for text in texts]
    if other := next((rule for rule in rules if rule.scope == "candidate"), None):
        raise ConfigurationError(
            f"--fail-on {other.text}: compares two profiles; add --against or --against-set, or ask within this sweep, such as "
            "depth:loss:worse"
        )
    return rules


def _gate(result: Result, rules: Sequence[Rule]) -> Gate | None:
    """Apply the rules to the saved profile. None if there are no rules, or if the sweep was interrupted."""
    from dnlbench.compare import candidate_of, gate

    profile = result.profile
    if not rules or profile is None or result.interrupted:
        return None
    title = f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"
    return gate([candidate_of(profile, title)], rules)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Of a base."""

    against: str | None
    settings: Sequence[str]
    out_base: Path | None
    rules: Sequence[str]


def _run_against(
    request: Request, spec: str, settings: Sequence[str], asked: _Asked, answer: dict[str, Any]
) -> ExitCode:
    from dnlbench.cli.against import Answer, run_against
    from dnlbench.compare import parse_rule
    from dnlbench.interleave import plan_session

    rules = [parse_rule(rule, request.plan.spec.study) for rule in asked.rules]
    session = plan_session(
        request,
        spec,
        settings,
        against=asked.against,
        base_settings=asked.settings,
        base_out=asked.out_base,
        tell=_tell,
    )
    with graceful():
        return run_against(session, Answer(rules=rules, **answer))


def _refuse_if(given: bool, option: str, what: str) -> None:
    from dnlbench.errors import ConfigurationError

    if given:
        raise ConfigurationError(f"{option}: does not go with {what}")


def pack_size(text: str) -> int | None:
    """Runs that train together, at most; None for ``auto``."""
    from dnlbench.errors import ConfigurationError
    from dnlbench.sweep.request import MOST

    named = {"auto": None, "off": 1}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST:
        return int(text)
    raise ConfigurationError(f"--pack {text}: write a whole number from 1 to {MOST}, auto or off")


def _detach(request: Request, *, json_: bool) -> None:
    """The same command, as a process of its own."""
    from dnlbench.launch import launch_engine
    from dnlbench.store import RunDir
    from dnlbench.sweep import check_outcome, find_run_dir

    check_outcome(request)
    run_dir = RunDir(find_run_dir(request, tell=_tell))
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    if request.run_dir is None:
        arguments += ["--run-dir", str(run_dir.root)]
    pid = launch_engine(arguments, run_dir)
    if json_:
        write_json({"run_dir": str(run_dir.root), "pid": pid})
        return
    say(
        f"{request.plan.spec.name}: process {pid} carries it out, whatever becomes of this terminal.\n"
        f"follow it:  dnlbench attach {run_dir.root}\nstop it:    dnlbench control {run_dir.root} cancel"
    )
    write(str(run_dir.root))


def _tell(news: str) -> None:
    say(news)


@contextmanager
def graceful() -> Iterator[None]:
    """Make a command that may take hours end as by Ctrl+C when asked to, and outlive its terminal."""
    with _requests_as_interrupts(), _surviving_the_terminal():
        yield


REQUESTS_TO_END = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Sent by people and by batch systems, the last three before a time limit. SIGQUIT still ends a process at once."""


@contextmanager
def _requests_as_interrupts() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> NoReturn:
        if number == signal.SIGXCPU:  # the system repeats it every second, and a second interrupt ends a sweep at once
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in REQUESTS_TO_END}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_standard_input() -> None:
    """Nobody gives turns any more once the session is gone, however it went: then the sweep ends as by Ctrl+C."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin, whose lock a thread must not hold when Python ends
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


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


def _report(result: Result, gate: Gate | None, *, json_: bool, quiet: bool) -> None:
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.report.comparison import gate_content
    from dnlbench.report.markdown import profile_parts
    from dnlbench.report.profile import profile_grids

    if result.profile is None:
        return
    add_to_step_summary(profile_parts(result.profile, gate))
    if json_:
        summary = result.profile.summary.model_dump(mode="json")
        content = {
            "profile": str(result.path),
            "run_dir": str(result.run_dir),
            "state": result.profile.state,
            "interrupted": result.interrupted,
            "summary": summary,
            **({} if gate is None else {"gate": gate_content(gate)}),
        }
        write_json(content)
        return
    if not quiet:
        for grid in profile_grids(result.profile):
            show(grid)
            write("")
    write(str(result.path))


def warn_of_lost_weights(lost: Mapping[str, str]) -> None:
    """Name runs that ended well, by id, and why their weights were not kept."""
    if lost:
        reasons = "; ".join(f"{run_id}: {reason}" for run_id, reason in list(lost.items())[:3])
        more = "; …" if len(lost) > 3 else ""
        runs = units.counted(len(lost), "run")
        say(f"dnlbench: the weights of {runs} could not be kept: {reasons}{more}")


def _exit_code(result: Result, gate: Gate | None, inconclusive: OnInconclusive) -> ExitCode:
    """A gate decides first; failed runs alone are exit code 1."""
    if result.interrupted:
        return ExitCode.INTERRUPTED
    code = exit_code(gate, inconclusive) if gate else ExitCode.OK
    if code != ExitCode.OK:
        return code
    assert result.profile is not None, "a sweep that was not interrupted has a profile"
    return ExitCode.OK if all(run.status == "ok" for run in result.profile.runs) else ExitCode.FAILED
