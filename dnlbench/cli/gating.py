"""Print the result of a regression gate and choose the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnlbench.cli.output import ExitCode, say

if TYPE_CHECKING:
    from dnlbench.comparison import Gate, Rule

OnInconclusive = Literal["fail", "warn"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Rules and output options for the result of a sweep."""

    rules: Sequence[Rule] = ()
    inconclusive: OnInconclusive = "warn"
    json: bool = False
    quiet: bool = False


def conclude(gate: Gate | None, answer: Answer, *, failed: bool) -> ExitCode:
    """Print a gate to stderr and return the exit code.

    The gate takes precedence over failed runs, because it distinguishes failures of the base from those of the head.
    """
    from dnlbench.report.gate import gate_lines

    if gate is not None:
        for line in (*gate_lines(gate), f"gate: {gate.outcome}"):
            say(f"dnlbench: {line}")
        if (code := _exit_code(gate, answer.inconclusive)) != ExitCode.OK:
            return code
    return ExitCode.FAILED if failed else ExitCode.OK


def _exit_code(gate: Gate, inconclusive: OnInconclusive) -> ExitCode:
    if gate.outcome == "inconclusive":
        return ExitCode.INCONCLUSIVE if inconclusive == "fail" else ExitCode.OK
    codes = {"pass": ExitCode.OK, "fail": ExitCode.REGRESSION, "not comparable": ExitCode.NOT_COMPARABLE}
    return codes[gate.outcome]
