"""Final weights of runs: extract them from the last checkpoint, store them in separate files, and read them back.

A file of weights contains a network's ``state_dict``, written by `torch.save`. It is read with ``weights_only``, which runs no
code, after its SHA-256 has been compared with the recorded one. Checkpoints are read in the same way.

`dnlbench.executor.weights` calls `keep_all` in a child process to extract the weights of finished runs::

    {"runs": [{"run_id": …, "folder": …, "epochs": 8}, …], "into": "<folder>"}
    {"run": …, "sha256": …}  or  {"run": …, "left_out": "<reason>"}
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnlbench.files import write_atomically
from dnlbench.runners.checkpoint import Checkpoints, unpack

Weights = Mapping[str, Any]
"""Tensors by name. The extra state of custom networks may contain plain values."""


class WeightsError(Exception):
    """Weights are missing, damaged, or not the requested ones."""


def from_checkpoint(folder: Path, epochs: int) -> Weights:
    """Read the weights of a run after its last epoch.

    Raises:
        WeightsError: if there is no intact checkpoint, or if it is from another epoch.
    """
    state = Checkpoints(folder).peek()
    if state is None:
        problem = "is damaged" if (folder / "checkpoint.pt").exists() else "does not exist"
        raise WeightsError(f"{folder / 'checkpoint.pt'} {problem}")
    if (state.get("epoch"), state.get("step")) != (epochs, 0):
        where = f"{state.get('epoch')} epochs" + (f" and {state.get('step')} steps" if state.get("step") else "")
        raise WeightsError(f"{folder / 'checkpoint.pt'} is from {where}; expected {epochs} epochs")
    return _checked(state.get("network"), folder / "checkpoint.pt")


def from_file(path: Path, sha256: str) -> Weights:
    """Read weights from a file.

    Raises:
        WeightsError: if the file cannot be read, has another hash, or contains no weights.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"{path} is damaged or from another sweep: its SHA-256 differs from the one in the profile")
    return _checked(unpack(content), path)


def keep(weights: Weights, path: Path) -> str:
    """Write weights to a file and return its SHA-256."""
    buffer = io.BytesIO()
    on_cpu = {k: v.cpu().contiguous() if isinstance(v, Tensor) else v for k, v in weights.items()}
    torch.save(on_cpu, buffer)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _checked(weights: object, path: Path) -> Weights:
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} contains no readable weights")
    return weights


def keep_all(request: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Serve a request; see the module docstring."""
    for run in request["runs"]:
        try:
            weights = from_checkpoint(Path(run["folder"]), run["epochs"])
        except WeightsError as error:
            yield {"run": run["run_id"], "left_out": str(error)}
            continue
        yield {"run": run["run_id"], "sha256": keep(weights, Path(request["into"]) / f"{run['run_id']}.pt")}
