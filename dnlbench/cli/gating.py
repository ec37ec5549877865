"""How commands tell what a gate says, and end by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dnlbench.cli.output import ExitCode, say

if TYPE_CHECKING:
    from dnlbench.compare import Gate

OnInconclusive = Annotated[
    Literal["fail", "warn"],
    typer.Option(help="Exit with code 4 (fail) or print a warning (warn) if a rule is inconclusive."),
]
"""The option of every command that takes rules."""


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
