"""Write reports to a file or to stdout."""

from __future__ import annotations

from pathlib import Path

from dnlbench.cli.output import show, write
from dnlbench.outputs import write_output
from dnlbench.report.console import render
from dnlbench.report.formats import Report


def put(report: Report, output: Path | None) -> None:
    """Write a report to a file, or to stdout with tables as wide as the terminal."""
    if output is not None:
        write_output(output, (report if isinstance(report, str) else render(report)).encode())
    elif isinstance(report, str):
        write(report)
    else:
        show(*report)
