"""Initial weights of training sweeps, and the parameters with weight decay."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import cast

import pytest
import torch
from torch import nn

from dnlbench.dnl.initialization import score_variance
from dnlbench.dnl.kernels import Attention
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.pack import PackLearner
from dnlbench.studies.training.spec import TrainSettings

MakePlan = Callable[..., Plan]
ATTENTION = ("sweep.networks=dense-attention", "sweep.depths=2", "sweep.seeds=[4]")


def initial(plan: Plan, slot: Slot) -> tuple[nn.Module, torch.Tensor]:
    """Return the network of the only run before training, and the first 64 images of its first epoch."""
    runner = TrainingRunner(plan, slot)
    training = runner.data.training
    images, _ = training.batch(epoch_order(len(training), 4, 1)[:64])
    return runner.setup.learner(plan.runs).network, images


def first_variances(network: nn.Module, images: torch.Tensor) -> list[float]:
    """Return the variance of the scores of the first state of every block."""
    result = []

    def record(kernel: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(kernel, Attention)
        result.append(float(score_variance(inputs[0].flatten(2).mT, kernel.q.weight, kernel.r.weight).detach()))

    for module in network.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(record)
    network.train()(images)
    return result


def test_attention_starts_with_unit_scores_on_the_runs_first_images(make_plan: MakePlan, slot: Slot) -> None:
    scaled, images = initial(make_plan(*ATTENTION), slot)
    assert first_variances(scaled, images) == pytest.approx([1] * 4, rel=1e-3)
    unscaled, _ = initial(make_plan(*ATTENTION, "network.attention_initialization=torch"), slot)
    assert max(first_variances(unscaled, images)) < 0.5


def test_custom_networks_receive_the_initialization(
    make_plan: MakePlan, slot: Slot, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("custom")
    (folder / "told_start.py").write_text(
        "from torch import nn\nseen = []\n"
        "def make(depth, input_shape, classes, network):\n"
        "    seen.append((network['initialization'], network['attention_initialization']))\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.chdir(folder)
    initial(make_plan("sweep.networks=told_start:make", *ATTENTION[1:], "network.initialization=torch"), slot)
    import told_start  # type: ignore[import-not-found]

    assert set(told_start.seen) == {("torch", "unit-scores")}


def norm_and_linear() -> nn.Module:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 2, bias=False))
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return network


@pytest.mark.parametrize("decaying", ["all", "weights"])
def test_one_step_of_sgd_by_hand(decaying: str) -> None:
    network = norm_and_linear()
    train = TrainSettings(lr=0.1, momentum=0.0, weight_decay=0.2, weight_decay_on=decaying)
    learner = Learner(network, train)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 0.3)
    learner.optimizer.step()
    for name, value in network.named_parameters():
        decays = decaying == "all" or name in ("0.weight", "3.weight")
        expected = before[name] - 0.1 * (0.3 + 0.2 * decays * before[name])
        torch.testing.assert_close(value.detach(), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_pack_decays_what_its_networks_alone_do(optimizer: str) -> None:
    torch.manual_seed(0)
    networks = [norm_and_linear() for _ in range(3)]
    train = TrainSettings(optimizer=optimizer, weight_decay=0.2, weight_decay_on="weights")
    pack = PackLearner(networks, train)
    singles = [Learner(network, train) for network in networks]
    for learner in (pack, *singles):
        for parameter in learner.parameters:
            parameter.grad = torch.full_like(parameter, 0.3)
        learner.optimizer.step()
    for name, stacked in pack._parameters.items():
        alone = torch.stack([cast(torch.Tensor, network.get_parameter(name)) for network in networks])
        torch.testing.assert_close(stacked, alone)
    groups = [len(group["params"]) for group in pack.optimizer.param_groups]
    assert groups == [2, 4]


@pytest.mark.parametrize("decaying", ["all", "weights"])
def test_both_layouts_of_groups_resume_from_their_states(decaying: str) -> None:
    train = TrainSettings(weight_decay=0.2, weight_decay_on=decaying, schedule="cosine")

    def advance(learner: Learner) -> None:
        for number, parameter in enumerate(learner.parameters, start=1):
            parameter.grad = torch.full_like(parameter, 0.1 * number)
        learner.optimizer.step()
        learner.schedule.step()

    torch.manual_seed(0)
    first, other = Learner(norm_and_linear(), train), Learner(norm_and_linear(), train)
    advance(first)
    other.restore(deepcopy(first.states()))
    for learner in (first, other):
        advance(learner)
    assert len({group["lr"] for group in other.optimizer.param_groups}) == 1
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, other.parameters, strict=True))
