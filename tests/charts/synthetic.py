"""Synthetic profiles with known values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dnlbench.profiles import EpochRecord, Profile, RunRecord, summarize
from dnlbench.studies import STUDIES

MODELS = {"densenet": (0.2, 1.5, 1.0), "dense-attention": (0.6, 1.0, 0.8), "dense-gaussian": (0.4, 1.2, 1.2)}
"""Limit, constant and order of the losses after the last epoch."""


def run_of(network: str, depth: int, seed: int, losses: Sequence[float], **changes: Any) -> RunRecord:
    """Return a run with the given training losses. Its times grow like L^1.5 and its memory like L."""
    rate = 2e4 * depth**-1.5 * (1 + 0.01 * seed)
    epochs = [
        EpochRecord(epoch=i + 1, train_loss=loss, seconds=1500 / rate, samples_per_s=rate)
        for i, loss in enumerate(losses)
    ]
    fields: dict[str, Any] = {
        "run_id": f"{network}-L{depth}-s{seed}-00000000",
        "network": network,
        "depth": depth,
        "seed": seed,
        "status": "ok",
        "device": "cpu",
        "device_name": "A CPU",
        "threads": 1,
        "pack_size": 1,
        "parameters": 100 * depth,
        "epochs": epochs,
        "final_train_loss": losses[-1] if len(losses) else None,
        "samples_per_s": rate if len(losses) else None,
        "peak_memory_bytes": 3 * 2**20 * depth if len(losses) else None,
        "attempts": [],
        "error": None,
    }
    return RunRecord.model_validate({**fields, **changes})


def curve(network: str, depth: int, seed: int, epochs: int) -> list[float]:
    """Return losses that decrease to the model of the network, with a small difference for each seed."""
    limit, constant, order = MODELS.get(network, (0.3, 1.0, 1.0))
    last = (limit + constant * depth**-order) * (1 + 0.03 * (seed - 1) + 0.01 * math.sin(7 * depth + seed))
    return [last + 2 * math.exp(-6 * (k + 1) / epochs) - 2 * math.exp(-6) for k in range(epochs)]


def of_runs(base: Profile, runs: Sequence[RunRecord], **changes: Any) -> Profile:
    """Return the profile with other runs."""
    study = STUDIES[changes.get("study", base.study)]
    fields = {**base.model_dump(by_alias=True), "runs": runs, "summary": summarize(runs, study), **changes}
    return Profile.model_validate(fields)
