"""The page of a step of GitHub Actions: what a command found, in Markdown, below what earlier commands of the step wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dnlbench.cli.output import say
from dnlbench.report.markdown import LARGEST_BYTES, within

VARIABLE = "GITHUB_STEP_SUMMARY"


def add_to_step_summary(parts: Sequence[str]) -> None:
    """Appends as many of the parts as there is still room for to the file that the variable names; nothing without it.

    That it cannot be written is said, and changes nothing else: the result is saved or printed by then.
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
