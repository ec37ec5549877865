"""``dnlbench run --against``: a paired (A/B) benchmark of two environments or settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnlbench.cli.gating import Answer, conclude
from dnlbench.cli.output import ExitCode, say, show, write, write_json
from dnlbench.cli.signals import graceful
from dnlbench.cli.sweep import warn_of_lost_weights

if TYPE_CHECKING:
    from dnlbench.comparison import Rule
    from dnlbench.engine.request import RunRequest
    from dnlbench.paired.session import Session, SessionEnd
    from dnlbench.report.formats import Compared


def run_against(
    request: RunRequest, answer: Answer, against: str | None, base_settings: Sequence[str], base_out: Path | None
) -> ExitCode:
    """Run base and head, compare them and return the exit code."""
    from dnlbench.paired.session import plan_session, run_session

    session = plan_session(request, against, base_settings, base_out, on_message=say)
    with graceful():
        end = run_session(session, (lambda message: None) if answer.quiet else say)
        return _report(session, end, answer)


def _report(session: Session, end: SessionEnd, answer: Answer) -> ExitCode:
    from dnlbench.cli.step_summary import add_to_step_summary
    from dnlbench.report.markdown import comparison_parts

    if end.interrupted:
        say(
            f"dnlbench: interrupted; to continue, run the same command with --resume (run directory: {session.run_dir})"
        )
    if not end.saved:
        return ExitCode.INTERRUPTED
    compared = None if end.interrupted else _compare(session, answer.rules)
    if answer.json:
        write_json(_content(session, end, compared))
    else:
        if compared is not None and not answer.quiet:
            show(*compared.tables())
        write(str(session.out))
    if compared is None:
        return ExitCode.INTERRUPTED
    add_to_step_summary(comparison_parts(compared.comparisons, compared.gate))
    if session.request.keep_weights:
        log = session.run_dir / "engine.log"
        lost = [run for run in compared.candidates[0].runs if run.status == "ok" and run.weights_sha256 is None]
        warn_of_lost_weights({run.run_id: f"see {log}" for run in lost})
    return conclude(compared.gate, answer, failed=end.failed)


def _compare(session: Session, rules: Sequence[Rule]) -> Compared:
    from dnlbench.comparison import candidate_of, compare, gate
    from dnlbench.noise import known_floors
    from dnlbench.profiles import read_profile
    from dnlbench.report.comparison import with_distinct_titles
    from dnlbench.report.formats import Compared

    base, head = read_profile(session.base_out), read_profile(session.out)
    comparisons = with_distinct_titles([compare(base, head)], session.base_out, [session.out])
    alone = candidate_of(head, comparisons[0].candidate)
    verdict = gate([*comparisons, alone], rules, known_floors(head)) if rules else None
    return Compared(reference=base, candidates=[head], comparisons=comparisons, gate=verdict)


def _content(session: Session, end: SessionEnd, compared: Compared | None) -> dict[str, Any]:
    from dnlbench.report.comparison import comparison_json

    comparisons = comparison_json(compared.comparisons, compared.gate) if compared else '{"comparisons": []}'
    return {
        "profile": str(session.out),
        "base_profile": str(session.base_out),
        "run_dir": str(session.run_dir),
        "base_run_dir": str(session.base_run_dir),
        "interrupted": end.interrupted,
        **json.loads(comparisons),
    }
