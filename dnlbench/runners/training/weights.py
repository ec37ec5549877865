"""Final weights of runs: taken from the last checkpoint, kept as files of their own, and read back.

A file of weights holds a network's state by the names of ``state_dict``, as `torch.save` writes it, and is read with
``weights_only``, which runs no code, after its SHA-256 was found to be the one on record. This is what checkpoints do too.

In a process of its own, asked by `dnlbench.executor.weights`, `keep_all` takes the weights of finished runs out of their
checkpoints::

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
"""Tensors; the extra state of a network of the user's own may be plain values."""


class WeightsError(Exception):
    """Weights that are not there, or not those that were asked for."""


def from_checkpoint(folder: Path, epochs: int) -> Weights:
    """The weights that a run had after its last epoch.

    Raises:
        WeightsError: if no whole checkpoint is there, or if it is of another epoch.
    """
    state = Checkpoints(folder).peek()
    if state is None:
        found = "is damaged" if (folder / "checkpoint.pt").exists() else "is not there"
        raise WeightsError(f"{folder / 'checkpoint.pt'} {found}")
    if (state.get("epoch"), state.get("step")) != (epochs, 0):
        where = f"{state.get('epoch')} epochs" + (f" and {state.get('step')} steps" if state.get("step") else "")
        raise WeightsError(f"{folder / 'checkpoint.pt'} is of {where}, not of the {epochs} epochs that are asked for")
    return _checked(state.get("network"), folder / "checkpoint.pt")


def from_file(path: Path, sha256: str) -> Weights:
    """Weights that were kept.

    Raises:
        WeightsError: if the file is not there, or not the one with that hash, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(f"{path} is damaged, or of another sweep: its SHA-256 is not the one in the profile")
    return _checked(unpack(content), path)


def keep(weights: Weights, path: Path) -> str:
    """Writes weights; the file's SHA-256."""
    buffer = io.BytesIO()
    on_cpu = {k: v.cpu().contiguous() if isinstance(v, Tensor) else v for k, v in weights.items()}
    torch.save(on_cpu, buffer)
    write_atomically(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _checked(weights: object, path: Path) -> Weights:
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} holds no weights that can be read")
    return weights


def keep_all(question: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """See the head of this file."""
    for run in question["runs"]:
        try:
            weights = from_checkpoint(Path(run["folder"]), run["epochs"])
        except WeightsError as error:
            yield {"run": run["run_id"], "left_out": str(error)}
            continue
        yield {"run": run["run_id"], "sha256": keep(weights, Path(question["into"]) / f"{run['run_id']}.pt")}
