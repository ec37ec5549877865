"""Where results are to go, looked at before hours of work and not after."""

from __future__ import annotations

import os
from pathlib import Path

from dnlbench.errors import ConfigurationError
from dnlbench.sweep.request import Request


def check_outcome(request: Request) -> None:
    """Makes sure that a sweep's profile can be put where it belongs, and that there are weights if they are to be kept.

    Raises:
        ConfigurationError: if not.
    """
    if request.keep_weights and not request.plan.study.has_epochs:
        raise ConfigurationError(
            f"--keep-weights: runs of the study {request.plan.study.name!r} have no weights to keep"
        )
    check_out(request.out)


def check_out(out: Path | None, option: str = "--out") -> None:
    """Makes sure that a profile can be saved there; its folder is created.

    Args:
        out: None for a new file in the default folder.
        option: that named it.

    Raises:
        ConfigurationError: if it can not.
    """
    folder = (out or Path("profiles") / "x").resolve().parent
    if out is not None and out.is_dir():
        raise ConfigurationError(f"{option} {out}: is a folder; name a file in it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"profiles cannot be saved in {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"profiles cannot be saved in {folder}: no permission to write there")
