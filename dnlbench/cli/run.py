"""``dnlbench run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dnlbench.cli import options, sweep
from dnlbench.cli.against import run_against
from dnlbench.cli.gating import Answer
from dnlbench.cli.output import guarded, say

if TYPE_CHECKING:
    from dnlbench.comparison import Rule
    from dnlbench.engine.request import RunRequest
    from dnlbench.studies import Study


@guarded
def run(
    spec: options.Spec,
    set_: options.Settings = None,
    grid: options.Grid = None,
    depths: options.Depths = None,
    seeds: options.Seeds = None,
    dry_run: options.DryRun = False,
    extend: options.Extend = False,
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    checkpoint_every: options.CheckpointEvery = 30.0,
    detach: options.Detach = False,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    threads: options.Threads = None,
    pack: options.Pack = "auto",
    executor: options.Executor = "local",
    out: options.Out = None,
    keep_weights: options.KeepWeights = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
    against: options.Against = None,
    against_set: options.BaseSettings = None,
    out_base: options.OutBase = None,
    fail_on: options.RunRules = None,
    inconclusive: options.Inconclusive = "warn",
    ray_address: options.RayAddress = None,
    ray_insecure: options.RayInsecure = False,
) -> None:
    """Run a sweep and save its profile.

    Finished runs in the run directory are not repeated. The last line of stdout is the path of the profile, or of the run
    directory with --detach.

    With --against or --against-set, dnlbench runs a paired benchmark: each run alternates with the same run of a base, which is
    another environment, the same one with other settings, or both. Then it compares head and base. --fail-on turns the
    comparison into an exit code. Without a base, --fail-on compares each depth with the previous one, and each network with the
    first one at equal depth.
    """
    from dnlbench.engine.request import RunRequest, pack_size, resumed
    from dnlbench.spec import SpecText

    _warn_of_settings()
    asked = RunRequest(
        spec=SpecText.read(spec, [*(set_ or ()), *_axes(grid, depths, seeds)]),
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
        resume=resume or extend,
        keep_weights=keep_weights,
    )
    request = resumed(asked)
    if dry_run:
        raise typer.Exit(sweep.dry_run(request, json=json_))
    paired = against is not None or bool(against_set)
    _check_options(paired=paired, detach=detach, request=request, out_base=out_base, rules=fail_on)
    rules = _read_rules(fail_on or (), request.plan.study, paired=paired)
    answer = Answer(rules=rules, inconclusive=inconclusive, json=json_, quiet=quiet)
    if paired:
        raise typer.Exit(run_against(request, answer, against, against_set or (), out_base))
    raise typer.Exit(sweep.detach(request, answer) if detach else sweep.run_here(request, answer))


def _axes(grid: Sequence[str] | None, depths: str | None, seeds: str | None) -> Iterator[str]:
    """Yield the overrides of the spec that the options for axes stand for."""
    yield from (f"sweep.grid.{each}" for each in grid or ())
    if depths is not None:
        yield f"sweep.depths={depths}"
    if seeds is not None:
        yield f"sweep.seeds={seeds}"


def _read_rules(texts: Sequence[str], study: Study, *, paired: bool) -> list[Rule]:
    """Read ``--fail-on``.

    Raises:
        ConfigurationError: if a rule compares two profiles where there is one.
    """
    from dnlbench.comparison import parse_rule
    from dnlbench.errors import ConfigurationError

    rules = [parse_rule(text, study) for text in texts]
    if not paired and (other := next((rule for rule in rules if rule.scope == "candidate"), None)):
        raise ConfigurationError(
            f"--fail-on {other.text}: compares two profiles. Add --against or --against-set, or use a rule within this sweep, "
            "such as depth:loss:worse"
        )
    return rules


def _check_options(
    *, paired: bool, detach: bool, request: RunRequest, out_base: Path | None, rules: Sequence[str] | None
) -> None:
    from dnlbench.errors import ConfigurationError

    problems = {
        "--detach: not available for paired benchmarks; remove it, or --against and --against-set": paired and detach,
        f"--executor {request.executor}: not available for paired benchmarks, which need a single machine; remove it": paired
        and not request.executor_type.on_this_machine,
        "--out-base: requires --against or --against-set": out_base is not None and not paired,
        "--fail-on: not available with --detach, which returns before the sweep ends; remove one of them": detach
        and bool(rules),
    }
    for problem, applies in problems.items():
        if applies:
            raise ConfigurationError(problem)


def _warn_of_settings() -> None:
    from dnlbench.tui.settings import settings_path, settings_problems

    for problem in settings_problems(settings_path()):
        say(f"dnlbench: warning: {problem}")
