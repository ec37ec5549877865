"""The job summary of GitHub Actions: results of a command in Markdown, after those of earlier commands in the step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dnlbench.cli.output import say
from dnlbench.report.markdown import LARGEST_BYTES, within

VARIABLE = "GITHUB_STEP_SUMMARY"


def add_to_step_summary(parts: Sequence[str]) -> None:
    """Append as many parts as fit to the file named by ``$GITHUB_STEP_SUMMARY``. Without the variable do nothing.

    A file that cannot be written causes a message only, because the result is already saved or printed.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return
    path = Path(name)
    try:
        before = path.read_bytes() if path.exists() else b""
        gap = "\n" if before else ""
        text = within(parts, LARGEST_BYTES - len(before) - len(gap))
        if not text:
            say(f"dnlbench: {VARIABLE} is full; nothing was added to it")
            return
        with path.open("ab") as file:
            file.write((gap + text).encode())
    except OSError as error:
        say(f"dnlbench: {VARIABLE}={name}: cannot be written: {error.strerror or error}")
