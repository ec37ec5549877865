"""Measures trained networks, in a process of its own.

`dnlbench.diagnosis` asks for it::

    {"spec": {…}, "slot": {…}, "samples": 128, "data_sha256": …, "runs": [{"run_id": …, "network": "densenet", "depth": 8,
     "epochs": 8, "folder": "<of a checkpoint>"  or  "file": …, "sha256": …}, …]}
    {"run": …, "blocks": [{…}, …], "training": {"loss": …, "blocks": [{…}, …]}}  or  {"run": …, "left_out": "<reason>"}

The images are a fixed choice of the training data, the same for all runs, in float32 whatever the precision of training. In
training mode they are cut into batches of the training batch size, and a smaller last one is left out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dnlbench.dnl.diagnosis import diagnose, diagnose_in_training_mode
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import DataError
from dnlbench.machine import Slot
from dnlbench.runners.device import make_repeatable, open_device, set_float32_precision
from dnlbench.runners.training.build import build_network
from dnlbench.runners.training.data import Dataset, epoch_order, load_dataset
from dnlbench.runners.training.weights import WeightsError, from_checkpoint, from_file
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

BATCH = 32
"""Images at a time: autograd keeps all that a deep network makes of them."""


def diagnose_all(question: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """See the head of this file.

    Raises:
        DataError: if the data are not those that were trained on.
        DeviceError: if torch cannot use the device.
    """
    slot = Slot.model_validate(question["slot"])
    device = open_device(slot)
    make_repeatable(device, slot.threads)
    set_float32_precision("fp32")
    spec = TrainingSpec.model_validate_json(json.dumps(question["spec"]), strict=True)
    data = load_dataset(spec.data, evaluate=False)
    if data.info.sha256 != question["data_sha256"]:
        raise DataError(
            f"data.dataset = {spec.data.dataset!r}: not the data that the sweep was trained on: sha256 "
            f"{question['data_sha256'][:12]} then, {data.info.sha256[:12]} now"
        )
    batches = _batches(data, question["samples"], BATCH, device)
    training = _batches(data, question["samples"], spec.train.batch_size, device)
    training = [batch for batch in training if len(batch[1]) == len(training[0][1])]
    for run in question["runs"]:
        try:
            network = _network(spec, run, data).to(device)
            blocks = [dataclasses.asdict(block) for block in diagnose(network, batches)]
            in_training = (
                dataclasses.asdict(diagnose_in_training_mode(network, training)) if len(training[0][1]) > 1 else None
            )
            yield {"run": run["run_id"], "blocks": blocks, "training": in_training}
        except WeightsError as error:
            yield {"run": run["run_id"], "left_out": str(error)}


def _batches(data: Dataset, samples: int, size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """A choice that no epoch's order begins with; files may be sorted by class, so the first ones would not do."""
    chosen = epoch_order(len(data.training), seed=0, epoch=0)[:samples]
    split = data.training.to(device)
    return [split.batch(indices) for indices in torch.split(chosen.to(device), size)]


def _network(spec: TrainingSpec, run: Mapping[str, Any], data: Dataset) -> DNLNetwork:
    """With the weights of the run.

    Raises:
        WeightsError: if they are not there or not of this network.
    """
    weights = (
        from_checkpoint(Path(run["folder"]), run["epochs"])
        if "folder" in run
        else from_file(Path(run["file"]), run["sha256"])
    )
    network = build_network(spec, Point(network=run["network"], depth=run["depth"]), data.info)
    assert isinstance(network, DNLNetwork), "networks of the user's own are not asked for"
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise WeightsError(f"its weights do not fit the network: {str(error).splitlines()[-1].strip()}") from error
    return network
