"""How commands judge and print results, and end by what a gate says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dnlbench.cli.output import ExitCode, say

if TYPE_CHECKING:
    from dnlbench.compare import Gate, Rule

OnInconclusive = Literal["fail", "warn"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the result of a sweep is judged and printed."""

    rules: Sequence[Rule] = ()
    inconclusive: OnInconclusive = "warn"
    json: bool = False
    quiet: bool = False


def tell(gate: Gate) -> None:
    """A line for each finding, and one for all, on stderr."""
    from dnlbench.report.gate import gate_lines

    for line in gate_lines(gate):
        say(f"dnlbench: {line}")
    say(f"dnlbench: gate: {gate.outcome}")


def exit_code(gate: Gate, inconclusive: OnInconclusive) -> ExitCode:
    """What a command ends with, if nothing else is wrong."""
    if gate.outcome == "inconclusive":
        return ExitCode.INCONCLUSIVE if inconclusive == "fail" else ExitCode.OK
    codes = {"pass": ExitCode.OK, "fail": ExitCode.REGRESSION, "not comparable": ExitCode.NOT_COMPARABLE}
    return codes[gate.outcome]
