"""Keeping the final weights of a sweep beside its profile.

They lie in ``<profile without .json>.weights/<run id>.pt``; `dnlbench.runners.training.weights` says what such a file holds.
The profile names each one's SHA-256 in ``runs[].weights_sha256``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dnlbench.executor.processes import call
from dnlbench.machine import Slot, cpu_device
from dnlbench.store import RunDir

FUNCTION = "dnlbench.runners.training.weights:keep_all"


@dataclass(frozen=True, kw_only=True)
class KeptWeights:
    """What became of the weights of some runs, by run id."""

    sha256: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """With the reason."""


def weights_folder(profile: Path) -> Path:
    """Where the weights of a profile's runs are."""
    return profile.with_name(f"{profile.stem}.weights")


def keep_weights(run_dir: RunDir, epochs: Mapping[str, int], into: Path) -> KeptWeights:
    """Take the weights of finished runs, with the epochs of each, out of their checkpoints and into a folder."""
    if not epochs:
        return KeptWeights()
    request = {
        "runs": [
            {"run_id": run_id, "folder": str(run_dir.run_path(run_id)), "epochs": count}
            for run_id, count in epochs.items()
        ],
        "into": str(into),
    }
    results = list(call(FUNCTION, request, Slot(name="weights", device=cpu_device(), threads=1)))
    return KeptWeights(
        sha256={part["run"]: part["sha256"] for part in results if "sha256" in part},
        left_out={part["run"]: part["left_out"] for part in results if "left_out" in part},
    )
