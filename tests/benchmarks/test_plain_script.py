"""The yardstick of the speed benchmark computes what dnlbench computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch.nn import functional

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.events import EpochDone
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order
from tests.benchmarks import plain_script
from tests.benchmarks.names import plain_names


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", plain_script.NETWORKS)
@pytest.mark.parametrize("depth", [1, 3])
def test_both_have_equal_logits_and_gradients(name: str, depth: int) -> None:
    ours = DNLNetwork(name, depth=depth, input_shape=(3, 8, 8), classes=5, blocks=3, growth_rate=3)
    theirs = plain_script.Network(name, depth, growth=3, blocks=3, classes=5)
    theirs.load_state_dict(plain_names(ours.state_dict()))
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6) % 5
    expected, found = ours(images), theirs(images)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    for logits in (expected, found):
        torch.autograd.backward(functional.cross_entropy(logits, labels))
    gradients = {parameter_name: p.grad for parameter_name, p in ours.named_parameters()}
    their_gradients = {parameter_name: p.grad for parameter_name, p in theirs.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    renamed = plain_names({key: gradient for key, gradient in gradients.items() if gradient is not None})
    assert renamed.keys() == their_gradients.keys()
    for key, gradient in renamed.items():
        torch.testing.assert_close(their_gradients[key], gradient, rtol=1e-8, atol=1e-10)


def test_both_have_equal_losses(make_plan: Callable[..., Plan], slot: Slot) -> None:
    data = ("data.dataset='synthetic'", "data.image_size=8", "data.samples=150", "data.limit=150")
    axes = ("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=[3]")
    protocol = ("train.batch_size=64", "train.epochs=2", "network.blocks=4", "network.growth_rate=6")
    plan = make_plan(*axes, *data, *protocol)
    runner, run = TrainingRunner(plan, slot), plan.runs[0]
    network = plain_script.Network("densenet", 2)
    network.load_state_dict(plain_names(runner.setup.learner([run]).network.state_dict()))
    with TemporaryDirectory() as folder:
        job = Job(
            members=(Member(run=run, attempt=1, folder=Path(folder), epochs_known=0),), should_suspend=lambda: False
        )
        expected = [event.train_loss for event in runner.run(job) if isinstance(event, EpochDone)]
    split, optimizer = runner.data.training, plain_script.make_optimizer(network)
    images = np.ascontiguousarray(split.inputs.permute(0, 2, 3, 1).numpy())
    data_set = plain_script.Images(images, split.targets.tolist())
    found = []
    for epoch in (1, 2):
        order = epoch_order(len(split), run.seed, epoch).tolist()
        loader = plain_script.make_loader(data_set, order)
        found.append(plain_script.train_epoch(network, optimizer, loader))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_script_trains_each_depth_and_seed_on_its_own() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    rows = list(plain_script.sweep(plain_script.Images(images, list(range(3)) * 4), "dense-gaussian", [1, 2], 2, 2))
    places = [(row["depth"], row["seed"], row["epoch"]) for row in rows]
    assert places == [(depth, seed, epoch) for depth in (1, 2) for seed in (0, 1) for epoch in (1, 2)]
    assert len({row["train_loss"] for row in rows}) == len(rows)
