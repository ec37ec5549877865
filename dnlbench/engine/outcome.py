"""Where results are to go, checked before hours of work and not after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dnlbench.engine.request import RunRequest
from dnlbench.errors import ConfigurationError
from dnlbench.executor.weights import weights_folder
from dnlbench.outputs import check_folder, check_output
from dnlbench.profiles import is_profile
from dnlbench.profiles.files import FOLDER
from dnlbench.store import RunDir


def check_outcome(request: RunRequest) -> None:
    """Make sure that a sweep can save its profile, and the weights if they are to be kept.

    Raises:
        ConfigurationError: if not.
    """
    if request.keep_weights and not request.plan.study.has_epochs:
        raise ConfigurationError(
            f"--keep-weights: runs of the study {request.plan.study.name!r} have no weights to keep"
        )
    if request.out is None:
        check_folder(FOLDER, "the profile")
        return
    check_out(request.out, used_by(request))
    if request.keep_weights:
        check_folder(weights_folder(request.out), "--keep-weights: the weights")


def used_by(request: RunRequest) -> list[Path]:
    """The files and folders that no output of the sweep may replace."""
    own = RunDir(request.run_dir).managed_paths if request.run_dir is not None else []
    return [Path(request.spec.origin), *own]


def check_out(out: Path, inputs: Sequence[Path], option: str = "--out") -> None:
    """Make sure that a profile can be saved there, and replaces nothing but another profile.

    Raises:
        ConfigurationError: if not.
    """
    check_output(out, inputs, option)
    if out.is_file() and out.stat().st_size > 0 and not is_profile(out):  # mktemp makes empty files for such uses
        raise ConfigurationError(f"{option} {out}: exists and is not a profile; name another file, or remove this one")
