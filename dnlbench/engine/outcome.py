"""Check output paths before a sweep starts, not after hours of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dnlbench import units
from dnlbench.engine.request import RunRequest
from dnlbench.errors import ConfigurationError
from dnlbench.executor.weights import weights_folder
from dnlbench.outputs import check_folder, check_output
from dnlbench.profiles import is_profile
from dnlbench.profiles.files import FOLDER
from dnlbench.store import RunDir


def check_outcome(request: RunRequest) -> None:
    """Check that a sweep can save its profile, and its weights with ``keep_weights``.

    Raises:
        ConfigurationError: if it cannot.
    """
    if request.keep_weights and not request.plan.study.has_epochs:
        raise ConfigurationError(
            f"--keep-weights: runs of the study {request.plan.study.name!r} have no weights. Remove the option"
        )
    if request.out is None:
        check_folder(FOLDER, "the profile")
        return
    check_out(request.out, used_by(request))
    if request.keep_weights:
        check_folder(weights_folder(request.out), "--keep-weights: the weights")


def used_by(request: RunRequest) -> list[Path]:
    """Return the files and folders that no output of the sweep may replace."""
    managed = RunDir(request.run_dir).managed_paths if request.run_dir is not None else []
    return [Path(request.spec.origin), *managed]


def check_out(out: Path, inputs: Sequence[Path], option: str = "--out") -> None:
    """Check that a profile can be saved at ``out`` and replaces at most another profile.

    Raises:
        ConfigurationError: if it cannot.
    """
    check_output(out, inputs, option)
    if out.is_file() and out.stat().st_size > 0 and not is_profile(out):  # mktemp creates empty files
        raise ConfigurationError(f"{option} {out}: exists and is not a profile; name another file, or remove this one")


def lost_weights_text(lost: Mapping[str, str]) -> str:
    """Name the runs whose weights were not saved, and the reasons by run id."""
    reasons = "; ".join(f"{run_id}: {reason}" for run_id, reason in list(lost.items())[:3])
    more = "; …" if len(lost) > 3 else ""
    return f"the weights of {units.counted(len(lost), 'run')} could not be saved: {reasons}{more}"
