"""Measure trained networks in a child process.

Request of `dnlbench.diagnosis`, and one reply per run::

    {"spec": {…}, "slot": {…}, "samples": 128, "data_sha256": …, "runs": [{"run_id": …, "network": "densenet", "depth": 8,
     "epochs": 8, "folder": "<of a checkpoint>"  or  "file": …, "sha256": …}, …]}
    {"run": …, "blocks": [{…}, …], "training": {"loss": …, "blocks": [{…}, …]}}  or  {"run": …, "left_out": "<reason>"}

The images are a fixed sample of the training data, equal for all runs. Computations are in float32 for any precision of
training. In training mode the images are split into batches of the training batch size; a smaller last batch is dropped.
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
from dnlbench.runners.training.objectives import Outcome
from dnlbench.runners.training.weights import WeightsError, from_checkpoint, from_file
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

BATCH = 32
"""Batch size in evaluation mode. It limits the memory of autograd in deep networks."""


def diagnose_all(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Serve a request; see the module docstring.

    Raises:
        DataError: if the data are not the training data of the sweep.
        DeviceError: if torch cannot use the device.
    """
    slot = Slot.model_validate(request["slot"])
    device = open_device(slot)
    make_repeatable(device, slot.threads)
    set_float32_precision("fp32")
    spec = TrainingSpec.model_validate_json(json.dumps(request["spec"]), strict=True)
    data = load_dataset(spec.data, evaluate=False)
    if data.info.sha256 != request["data_sha256"]:
        raise DataError(
            f"data.dataset = {spec.data.dataset!r}: the data have changed since the sweep: sha256 "
            f"{request['data_sha256'][:12]} then, {data.info.sha256[:12]} now"
        )
    batches = _batches(data, request["samples"], BATCH, device)
    training = _batches(data, request["samples"], spec.train.batch_size, device)
    training = [batch for batch in training if len(batch[1]) == len(training[0][1])]
    loss = Outcome.of(spec.train).total_loss
    for run in request["runs"]:
        try:
            network = _network(spec, run, data).to(device)
            blocks = [dataclasses.asdict(block) for block in diagnose(network, batches, loss)]
            in_training = (
                dataclasses.asdict(diagnose_in_training_mode(network, training, loss))
                if len(training[0][1]) > 1
                else None
            )
            yield {"run": run["run_id"], "blocks": blocks, "training": in_training}
        except WeightsError as error:
            yield {"run": run["run_id"], "left_out": str(error)}


def _batches(data: Dataset, samples: int, size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Sample images in the order of epoch 0, which training does not use. Files may be sorted by class."""
    chosen = epoch_order(len(data.training), seed=0, epoch=0)[:samples]
    split = data.training.to(device)
    return [split.batch(indices) for indices in torch.split(chosen.to(device), size)]


def _network(spec: TrainingSpec, run: Mapping[str, Any], data: Dataset) -> DNLNetwork:
    """Build the network of a run with its trained weights.

    Raises:
        WeightsError: if the weights are missing or do not fit the network.
    """
    weights = (
        from_checkpoint(Path(run["folder"]), run["epochs"])
        if "folder" in run
        else from_file(Path(run["file"]), run["sha256"])
    )
    network = build_network(spec, Point(network=run["network"], depth=run["depth"]), data.info)
    assert isinstance(network, DNLNetwork), "custom networks are not diagnosed"
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise WeightsError(f"its weights do not fit the network: {str(error).splitlines()[-1].strip()}") from error
    return network
