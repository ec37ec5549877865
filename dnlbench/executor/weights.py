"""Final weights of a sweep, stored next to its profile.

Path: ``<profile without .json>.weights/<run id>.pt``; `dnlbench.runners.training.weights` documents the content of these
files. The profile records their SHA-256 in ``runs[].weights_sha256``.
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
    """The result of storing weights, by run id."""

    sha256: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The reason for each run whose weights were not stored."""


def weights_folder(profile: Path) -> Path:
    """Return the folder that contains the weights of a profile's runs."""
    return profile.with_name(f"{profile.stem}.weights")


def keep_weights(run_dir: RunDir, epochs: Mapping[str, int], into: Path) -> KeptWeights:
    """Copy the weights of finished runs from their checkpoints into a folder. ``epochs`` maps run id to number of epochs."""
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
