"""Measurements of the initial and the final network, compared with explicit loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.events import EpochDone, NetworkMeasured, RunEvent
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order, load_dataset
from dnlbench.runners.training.evaluate import BATCH
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import DataSettings

MakePlan = Callable[..., Plan]
SAMPLES, BATCH_SIZE = 76, 16
SHORT = (f"data.limit={SAMPLES}", f"train.batch_size={BATCH_SIZE}", "sweep.depths=[2]", "sweep.seeds=[3]")
DROPOUT = """
from torch import nn

def network(depth, input_shape, classes, network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(), nn.BatchNorm1d(32), nn.Linear(32, classes))

def counting(depth, input_shape, classes, network):
    return Counting(nn.Linear(64, classes))

class Counting(nn.Module):
    "Has no batch norm, puts another tensor in place of its buffer, and has a state that is no tensor."

    def __init__(self, linear):
        super().__init__()
        self.linear, self.calls = linear, 0
        self.register_buffer("passes", __import__("torch").zeros(()))

    def forward(self, images):
        if self.training:
            self.passes = self.passes + 1
            self.calls += 1
        return self.linear(images.flatten(1)) / (1 + 0.01 * self.passes + 0.01 * self.calls)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]
"""


def train(plan: Plan, slot: Slot, folder: Path, known: int = 0) -> list[RunEvent]:
    """Train the runs of the plan together."""
    members = []
    for run in plan.runs:
        (folder / run.run_id).mkdir(parents=True, exist_ok=True)
        members.append(Member(run=run, attempt=1, folder=folder / run.run_id, epochs_known=known))
    return list(TrainingRunner(plan, slot).run(Job(members=tuple(members), should_suspend=lambda: False)))


def measured(events: Sequence[RunEvent], stage: str) -> list[dict[str, float]]:
    result = [event for event in events if isinstance(event, NetworkMeasured) and event.stage == stage]
    return [event.measurements for event in sorted(result, key=lambda event: event.run_id)]


def epochs(events: Sequence[RunEvent]) -> list[dict[str, object]]:
    timed = {"time", "seconds", "samples_per_s"}
    return [event.model_dump(exclude=timed) for event in events if isinstance(event, EpochDone)]


@pytest.fixture
def dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "custom_final.py").write_text(DROPOUT)
    monkeypatch.chdir(tmp_path)


def batches(order: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    data = load_dataset(DataSettings(limit=SAMPLES), evaluate=False).training
    return [(data.inputs[i].float() / 255, data.targets[i]) for i in torch.split(order, size)]


@torch.no_grad()
def loss_and_accuracy(network: nn.Module, parts: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    logits = [(network(images), labels) for images, labels in parts]
    losses = sum(float(functional.cross_entropy(z, y)) * len(y) for z, y in logits)
    hits = sum(int((z.argmax(1) == y).sum()) for z, y in logits)
    count = sum(len(y) for _, y in logits)
    return losses / count, hits / count


@pytest.mark.parametrize("implementation", ["standard", "memory-efficient"])
@pytest.mark.parametrize("kind", ["recalibrated", "running"])
def test_the_final_network_is_measured_as_by_an_explicit_loop(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, kind: str, implementation: str
) -> None:
    plan = make_plan(
        *SHORT,
        "sweep.networks=['densenet']",
        "train.evaluate=true",
        f"train.batch_norm={kind}",
        f"network.implementation={implementation}",
    )
    events = train(plan, slot, tmp_path)
    (result,) = measured(events, "final")
    state = Checkpoints(tmp_path / plan.runs[0].run_id).load()
    assert state is not None
    network = DNLNetwork("densenet", depth=2, input_shape=(1, 8, 8), classes=10, blocks=2, growth_rate=3)
    network.load_state_dict(state["network"])
    order = epoch_order(SAMPLES, seed=0, epoch=0)
    network.train()
    expected = dict(
        zip(("train_loss_batch", "train_accuracy_batch"), loss_and_accuracy(network, batches(order, 16)), strict=True)
    )
    network.load_state_dict(state["network"])
    if kind == "recalibrated":
        update_bn((images for images, _ in batches(order[: SAMPLES // 16 * 16], 16)), network)
    network.eval()
    batch = batches(torch.arange(SAMPLES), SAMPLES)
    expected |= dict(
        zip(("train_loss_evaluation", "train_accuracy_evaluation"), loss_and_accuracy(network, batch), strict=True)
    )
    evaluation = load_dataset(DataSettings(limit=SAMPLES), evaluate=True).evaluation
    assert evaluation is not None
    loss, accuracy = loss_and_accuracy(network, [(evaluation.inputs.float() / 255, evaluation.targets)])
    expected["evaluation_loss"] = loss
    assert result == pytest.approx(expected, rel=2e-5)
    last = [event for event in events if isinstance(event, EpochDone)][-1]
    assert (last.value("evaluation_loss"), last.value("evaluation_accuracy")) == pytest.approx(
        (loss, accuracy), rel=2e-5
    )
    assert last.value("evaluation_loss") == result["evaluation_loss"]
    assert SAMPLES < BATCH


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("network", ["densenet", "custom_final:network", "custom_final:counting"])
def test_measuring_changes_no_training_that_follows(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, network: str
) -> None:
    """A run that is extended or resumed after its last epoch is bit-equal to an uninterrupted run."""
    axes = (*SHORT, f"sweep.networks=['{network}']")
    evaluated = (*axes, "train.evaluate=true")
    at_once = train(make_plan(*evaluated, "train.epochs=3"), slot, tmp_path / "at once")
    first = train(make_plan(*evaluated, "train.epochs=1"), slot, tmp_path / "extended")
    rest = train(make_plan(*evaluated, "train.epochs=3"), slot, tmp_path / "extended", known=1)
    assert epochs(first) + epochs(rest) == epochs(at_once)
    assert measured(rest, "final") == measured(at_once, "final")
    assert (measured(first, "start"), measured(rest, "start")) == (measured(at_once, "start"), [])
    again = train(make_plan(*evaluated, "train.epochs=3"), slot, tmp_path / "extended", known=3)
    assert (epochs(again), measured(again, "final")) == ([], measured(at_once, "final"))
    unseen = train(make_plan(*axes, "train.epochs=3"), slot, tmp_path / "unseen")
    assert [e["train_loss"] for e in epochs(unseen)] == [e["train_loss"] for e in epochs(at_once)]


@pytest.mark.parametrize("network", ["densenet", "plain"])
def test_batched_seeds_are_measured_as_alone(make_plan: MakePlan, slot: Slot, tmp_path: Path, network: str) -> None:
    axes = (*SHORT[:3], f"sweep.networks=['{network}']", "train.epochs=1", "train.evaluate=true")
    together = train(make_plan(*axes, "sweep.seeds=[3, 4]"), slot, tmp_path / "pack")
    alone = [train(make_plan(*axes, f"sweep.seeds=[{seed}]"), slot, tmp_path / str(seed)) for seed in (3, 4)]
    for stage in ("start", "final"):
        for ours, theirs in zip(measured(together, stage), (measured(each, stage)[0] for each in alone), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3)


def test_gradients_are_those_of_an_explicit_loop(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    events = train(make_plan(*SHORT, "sweep.networks=['plain']", "train.epochs=1"), slot, tmp_path)
    torch.manual_seed(3)
    network = DNLNetwork("plain", depth=2, input_shape=(1, 8, 8), classes=10, blocks=2, growth_rate=3)
    optimizer, norms, ratio = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9), [], 0.0
    for images, labels in batches(epoch_order(SAMPLES, seed=3, epoch=1), BATCH_SIZE):
        optimizer.zero_grad()
        torch.autograd.backward(functional.cross_entropy(network(images), labels))
        parts = [torch.cat([p.grad.flatten() for p in b.parameters() if p.grad is not None]) for b in network.blocks]
        ratio = ratio or float(parts[0].norm() / parts[1].norm())
        norms.append(float(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).norm()))
        optimizer.step()
    full = sorted(norms[:4])  # the fifth batch has 12 of 16 samples
    (start,) = measured(events, "start")
    assert start == pytest.approx(
        {"gradient_norm_start": norms[0], "gradient_norm_first_steps": full[-1], "gradient_ratio_start": ratio},
        rel=1e-4,
    )
    (done,) = [event for event in events if isinstance(event, EpochDone)]
    assert (done.value("gradient_norm_median"), done.value("gradient_norm_max")) == pytest.approx(
        ((full[1] + full[2]) / 2, full[3]), rel=1e-4
    )
    assert done.value("gradient_norm") is None


def test_a_batch_larger_than_the_data_counts_as_full(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    events = train(make_plan(*SHORT, "sweep.networks=['plain']", "train.batch_size=100"), slot, tmp_path)
    first, _ = (event for event in events if isinstance(event, EpochDone))
    assert (
        first.value("gradient_norm_median")
        == first.value("gradient_norm_max")
        == measured(events, "start")[0]["gradient_norm_start"]
    )


def test_running_statistics_leave_the_identity_of_older_sweeps(make_plan: MakePlan) -> None:
    new = make_plan("sweep.depths=[2]").spec
    recorded = new.model_dump(mode="json")
    del recorded["train"]["batch_norm"]
    old = TrainingSpec.from_saved(recorded)
    assert old.train.batch_norm == "running"
    assert "batch_norm" not in old.identity()["train"]
    assert new.identity()["train"]["batch_norm"] == "recalibrated"
    assert {run.run_id for run in Plan(old).runs}.isdisjoint(run.run_id for run in Plan(new).runs)
