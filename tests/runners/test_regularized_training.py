"""Training with lambda R_L in the objective."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import SpecError
from dnlbench.events import EpochDone, Epochs, RunEnded, RunEvent, RunPaused, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.profiles import Profile
from dnlbench.report.profile import profile_csv
from dnlbench.runners.base import Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order, load_dataset
from dnlbench.studies.training import TRAINING
from dnlbench.studies.training.spec import DataSettings
from tests.covering import covering

MakePlan = Callable[..., Plan]

AXES = ("sweep.depths=[4]", "sweep.seeds=[5]")
ONE = ("sweep.networks=['densenet']", *AXES)
WEIGHTED = "train.regulariser_weight=0.02"
CUSTOM_CODE = """
import torch
from torch import nn

class Linear(nn.Sequential):
    def regularizer(self):
        return 3 * self[1].weight.square().sum()

class Number(Linear):
    def regularizer(self):
        return 1.5

class Vector(Linear):
    def regularizer(self):
        return self[1].bias

class OlderName(nn.Sequential):
    def regulariser(self):
        return 3 * self[1].weight.square().sum()

class BothNames(Linear):
    def regulariser(self):
        raise AssertionError("regularizer() has precedence")

class Broken(Linear):
    def regularizer(self):
        raise ZeroDivisionError("a bug of the user's")

def of(kind):
    return lambda depth, input_shape, classes, network: kind(nn.Flatten(), nn.Linear(64, classes))

without, linear, older, both = map(of, (nn.Sequential, Linear, OlderName, BothNames))
number, vector, broken = map(of, (Number, Vector, Broken))
"""


def attempt(
    plan: Plan, slot: Slot, folder: Path, before: Sequence[RunEvent] = (), *, suspend_at: int | None = None
) -> list[RunEvent]:
    """Return the events of another attempt at the only run, suspended before the training step ``suspend_at``."""
    steps, known = count(), len(fold(before).epochs)
    member = Member(run=plan.runs[0], attempt=1, folder=folder, epochs_known=known)
    job = Job(members=(member,), should_suspend=lambda: next(steps) == suspend_at)
    return list(TrainingRunner(plan, slot).run(job))


def epochs_of(events: Sequence[RunEvent]) -> list[EpochDone]:
    return [event for event in events if isinstance(event, EpochDone)]


def trained(plan: Plan, folder: Path) -> DNLNetwork:
    """Return the network at the end of a run."""
    state = Checkpoints(folder).load()
    assert state is not None
    point, options = plan.runs[0].point, {"input_shape": (1, 8, 8), "classes": 10, "blocks": 2, "growth_rate": 3}
    network = DNLNetwork(point.network, depth=point.depth, **options)  # type: ignore[arg-type]
    network.load_state_dict(state["network"])
    return network


def test_the_weight_lowers_the_regularizer(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    ends = []
    for weight in (0.0, 0.002, 0.02, 0.2):
        plan, folder = make_plan(*ONE, f"train.regulariser_weight={weight}"), tmp_path / str(weight)
        epochs = epochs_of(attempt(plan, slot, folder))
        ends.append(float(trained(plan, folder).regularizer().detach()))
        assert epochs[-1].value("regulariser") == (pytest.approx(ends[-1], rel=1e-6) if weight else None)
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] < ends[0] / 2


def test_without_a_weight_nothing_is_computed_and_no_bit_changes(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(DNLNetwork, "regularizer")
    plain = attempt(make_plan(*ONE), slot, tmp_path / "plain")
    zero = attempt(make_plan(*ONE, "train.regulariser_weight=0"), slot, tmp_path / "zero")
    kept = {"train_loss", "gradient_norm_median", "gradient_norm_max", "regulariser"}
    assert [e.model_dump(include=kept) for e in epochs_of(plain)] == [
        e.model_dump(include=kept) for e in epochs_of(zero)
    ]
    assert {epoch.value("regulariser") for epoch in epochs_of(plain)} == {None}
    assert len(epochs_of(plain)) == 2


def test_losses_are_those_of_an_explicit_loop(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    result = epochs_of(attempt(make_plan(*ONE, WEIGHTED), slot, tmp_path))
    torch.manual_seed(5)
    network = DNLNetwork("densenet", depth=4, input_shape=(1, 8, 8), classes=10, blocks=2, growth_rate=3)
    momentum = [torch.zeros_like(p) for p in network.parameters()]
    data = load_dataset(DataSettings(limit=150), evaluate=False).training
    for epoch, ours in enumerate(result, start=1):
        total, norms, order = 0.0, [], epoch_order(150, seed=5, epoch=epoch).tolist()
        for start in range(0, 150, 32):
            batch = order[start : start + 32]
            loss = functional.cross_entropy(network(data.inputs[batch].double().div(255).float()), data.targets[batch])
            gradients = torch.autograd.grad(loss + 0.02 * network.regularizer(), list(network.parameters()))
            for p, v, g in zip(network.parameters(), momentum, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.data.sub_(0.01 * v)
            total += loss.item() * len(batch)
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        assert ours.train_loss == pytest.approx(total / 150, rel=5e-4)  # the cross-entropy alone
        assert ours.value("regulariser") == pytest.approx(float(network.regularizer().detach()), rel=1e-4)
        assert ours.value("gradient_norm_max") == pytest.approx(
            max(norms[:4]), rel=1e-2
        )  # of R_L too, over the four full batches


def test_bf16_leaves_the_regularizer_in_float32(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, result = DNLNetwork.regularizer, []

    def watched(network: DNLNetwork) -> Tensor:
        value = ours(network)
        result.append((value.dtype, torch.is_autocast_enabled("cpu")))
        return value

    monkeypatch.setattr(DNLNetwork, "regularizer", watched)
    plan = make_plan(*ONE, WEIGHTED, "train.precision=bf16")
    epochs = epochs_of(attempt(plan, slot, tmp_path))
    assert set(result) == {(torch.float32, False)}
    assert epochs[-1].value("regulariser") == float(
        ours(trained(plan, tmp_path).to(memory_format=torch.channels_last)).detach()
    )


@pytest.mark.faults
@pytest.mark.parametrize("network", ["dense-attention", "resnet"])
def test_a_suspended_run_resumes_with_the_same_bits(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, network: str
) -> None:
    plan = make_plan(f"sweep.networks=['{network}']", *AXES, WEIGHTED)
    expected = epochs_of(attempt(plan, slot, tmp_path / "whole"))
    for step in (2, 7):
        folder = tmp_path / str(step)
        first = attempt(plan, slot, folder, suspend_at=step)
        assert isinstance(first[-1], RunPaused)
        result = epochs_of([*first, *attempt(plan, slot, folder, first)])
        kept = {"epoch", "train_loss", "gradient_norm_median", "gradient_norm_max", "regulariser"}
        assert [e.model_dump(include=kept) for e in result] == [e.model_dump(include=kept) for e in expected]
        there, here = (trained(plan, where).state_dict() for where in (tmp_path / "whole", folder))
        assert all(torch.equal(there[name], here[name]) for name in there)


@pytest.mark.faults
def test_too_large_a_weight_ends_the_run(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    *_, last, ended = attempt(make_plan(*ONE, "train.regulariser_weight=100", "train.epochs=9"), slot, tmp_path)
    assert isinstance(last, EpochDone)
    assert isinstance(ended, RunEnded)
    assert ended.status == "diverged"
    assert ended.error is not None
    assert f"epoch {last.epoch} is {last.train_loss} and R_L {last.value('regulariser')}; " in ended.error.message
    assert "a smaller train.lr or train.regulariser_weight may help" in ended.error.message
    assert last.epoch < 9


@pytest.mark.parametrize("factory", ["linear", "older", "both"])
def test_a_custom_network_defines_its_regularizer(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    (tmp_path / "custom_regularizers.py").write_text(CUSTOM_CODE)
    monkeypatch.chdir(tmp_path)
    ends: list[float] = []
    for weight in (0.01, 0.1):
        plan = make_plan(
            f"sweep.networks=['custom_regularizers:{factory}']", *AXES, f"train.regulariser_weight={weight}"
        )
        TrainingRunner(plan, slot).prepare()
        folder = tmp_path / str(weight)
        result = epochs_of(attempt(plan, slot, folder))[-1].value("regulariser")
        assert result is not None
        ends.append(result)
        state = Checkpoints(folder).load()
        assert state is not None
        assert ends[-1] == pytest.approx(3 * float(state["network"]["1.weight"].square().sum()))
    assert ends[1] < ends[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("without", r"train.regulariser_weight: custom_regularizers:without has no method regularizer\(\). Add one"),
        ("number", r"its regularizer\(\) returns float; expected a scalar floating-point tensor"),
        ("vector", r"its regularizer\(\) returns a tensor of shape \(10,\); expected a scalar"),
        ("broken", r"its regularizer\(\) fails: ZeroDivisionError: a bug of the user's"),
    ],
)
def test_a_network_without_a_valid_regularizer_is_refused(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "custom_regularizers.py").write_text(CUSTOM_CODE)
    monkeypatch.chdir(tmp_path)
    axes = (f"sweep.networks=['custom_regularizers:{name}']", *AXES)
    with pytest.raises(SpecError, match=message):
        TrainingRunner(make_plan(*axes, WEIGHTED), slot).prepare()
    TrainingRunner(make_plan(*axes), slot).prepare()


@pytest.mark.parametrize("weight", ["-0.1", "inf", "nan", "'much'"])
def test_an_impossible_weight_is_refused(make_plan: MakePlan, weight: str) -> None:
    with pytest.raises(SpecError, match=r"train\.regulariser_weight"):
        make_plan(f"train.regulariser_weight={weight}")


@pytest.mark.parametrize(
    ("network", "batch", "optimizer", "implementation"),
    covering(
        [
            ("densenet",),
            ("densenet", "network.connectivity=strides"),
            ("dense-attention", "network.bottleneck=true"),
            ("resnet", "network.width=24"),
        ],
        [4, 64],
        ["sgd", "adamw"],
        ["standard", "memory-efficient"],
    ),
)
def test_the_memory_of_a_regularized_run_is_estimated(
    make_plan: MakePlan,
    slot: Slot,
    tmp_path: Path,
    network: Sequence[str],
    batch: int,
    optimizer: str,
    implementation: str,
) -> None:
    name, *options = network
    axes = (f"sweep.networks=['{name}']", "sweep.depths=[16]", "sweep.seeds=[0]", *options)
    axes += (f"network.implementation={implementation}",)
    data = ("data.dataset=synthetic", "data.image_size=8", f"data.samples={batch}", "data.limit=64")
    protocol = (f"train.batch_size={batch}", f"train.optimizer={optimizer}", "train.epochs=1", WEIGHTED)
    plan = make_plan(*axes, *data, *protocol, "network.growth_rate=6")
    *_, ended = attempt(plan, slot, tmp_path)
    assert isinstance(ended, RunEnded)
    estimated = plan.estimate(plan.runs[0].point, (3, 8, 8), 10).memory_bytes
    assert estimated == pytest.approx(ended.peak_memory_bytes, rel=0.15)


def test_the_profile_and_its_table_have_the_regularizer(make_profile: Callable[..., Profile]) -> None:
    done = EpochDone(
        run_id="r", epoch=1, train_loss=0.5, seconds=1, samples_per_s=1, gradient_norm=1, regulariser=0.1 + 0.2
    )
    profile = make_profile({("densenet", 2): [0.5, 0.6]})
    first, second = profile.runs
    epochs = Epochs([done]).records(TRAINING.epoch_columns)
    runs = (first.model_copy(update={"epochs": epochs}), second)
    table = profile_csv(Profile.model_validate_json(profile.model_copy(update={"runs": runs}).to_json()))
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(table)))
    assert [row["regulariser"] for row in rows] == ["0.30000000000000004", ""]
