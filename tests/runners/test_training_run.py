from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import nn
from torch.nn import functional

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import DataError, SpecError
from dnlbench.events import EpochDone, NetworkMeasured, RunEnded, RunEvent, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import Job, Member
from dnlbench.runners.failures import classify
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import epoch_order, load_dataset
from dnlbench.runners.training.memory import step_memory_bytes
from dnlbench.runners.training.optimize import create_optimizer, create_schedule
from dnlbench.studies.training.spec import DataSettings, TrainSettings
from tests.covering import covering

MakePlan = Callable[..., Plan]
FACTORIES = """
import torch
from torch import nn

def linear(depth, input_shape, classes, network):
    assert input_shape == (1, 8, 8) and network["options"] == {"gain": 2.0}
    layers = [nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(*layers, *[nn.Linear(classes, classes) for _ in range(depth - 1)])

def too_many(depth, input_shape, classes, network):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))

def broken(depth, input_shape, classes, network):
    raise ZeroDivisionError("a bug of the user's")

not_callable = 3
"""


def losses(events: Iterable[RunEvent]) -> list[float]:
    return [event.train_loss for event in events if isinstance(event, EpochDone)]


def only_run(plan: Plan) -> Run:
    assert len(plan.runs) == 1
    return plan.runs[0]


def job_of(run: Run, folder: Path) -> Job:
    return Job(members=(Member(run=run, attempt=1, folder=folder, epochs_known=0),), should_suspend=lambda: False)


def train(plan: Plan, slot: Slot) -> list[RunEvent]:
    with TemporaryDirectory() as folder:
        return list(TrainingRunner(plan, slot).run(job_of(only_run(plan), Path(folder))))


ONE = ("sweep.networks=['densenet']", "sweep.depths=[2]", "sweep.seeds=[5]")


def test_losses_are_those_of_an_explicit_loop(make_plan: MakePlan, slot: Slot) -> None:
    events = train(make_plan(*ONE, "train.epochs=3"), slot)
    torch.manual_seed(5)
    network = DNLNetwork("densenet", depth=2, input_shape=(1, 8, 8), classes=10, blocks=2, growth_rate=3)
    momentum = [torch.zeros_like(p) for p in network.parameters()]
    data = load_dataset(DataSettings(limit=150), evaluate=False).training
    expected = []
    for epoch in (1, 2, 3):
        total, order = 0.0, epoch_order(150, seed=5, epoch=epoch).tolist()
        for start in range(0, 150, 32):
            batch = order[start : start + 32]
            logits = network(data.inputs[batch].double().div(255).float())
            loss = functional.nll_loss(functional.log_softmax(logits, 1), data.targets[batch])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            for p, v, g in zip(network.parameters(), momentum, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.data.sub_(0.01 * v)
            total += loss.item() * len(batch)
        expected.append(total / 150)
    assert losses(events) == pytest.approx(expected, rel=2e-4)
    assert losses(events)[0] > losses(events)[-1]


def test_events_of_a_run(make_plan: MakePlan, slot: Slot) -> None:
    plan = make_plan(*ONE, "train.evaluate=true")
    started, *between, ended = train(plan, slot)
    epochs = [event for event in between if isinstance(event, EpochDone)]
    assert [event.stage for event in between if isinstance(event, NetworkMeasured)] == ["start", "final"]
    assert isinstance(started, RunStarted)
    assert isinstance(ended, RunEnded)
    assert started.parameters == plan.estimate(only_run(plan).point, (1, 8, 8), 10).parameters
    assert ended.status == "ok"
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    for epoch in epochs:
        assert epoch.samples_per_s == pytest.approx(150 / epoch.seconds)
        assert (epoch.value("gradient_norm_median") or 0) > 0
        assert epoch.value("evaluation_loss") is not None
        assert epoch.value("evaluation_accuracy") is not None
        assert 0 <= (epoch.value("evaluation_accuracy") or 0) <= 1


def test_evaluating_does_not_change_the_training(make_plan: MakePlan, slot: Slot) -> None:
    assert losses(train(make_plan(*ONE), slot)) == losses(train(make_plan(*ONE, "train.evaluate=true"), slot))


def test_the_seed_decides_and_the_global_random_state_does_not(make_plan: MakePlan, slot: Slot) -> None:
    first = losses(train(make_plan(*ONE), slot))
    torch.manual_seed(99)
    assert losses(train(make_plan(*ONE), slot)) == first
    assert losses(train(make_plan(*ONE[:2], "sweep.seeds=[6]"), slot)) != first


def test_a_run_does_not_depend_on_the_runs_before_it(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    plan = make_plan("sweep.depths=[2]")
    runner = TrainingRunner(plan, slot)
    in_turn = [losses(runner.run(job_of(run, tmp_path / "x" / run.run_id))) for run in plan.runs]
    alone = [
        losses(TrainingRunner(plan, slot).run(job_of(run, tmp_path / "y" / run.run_id))) for run in reversed(plan.runs)
    ]
    assert in_turn == alone[::-1]


def test_tf32_is_refused_on_other_devices_than_cuda(make_plan: MakePlan, slot: Slot) -> None:
    with pytest.raises(SpecError, match="'tf32': available only on CUDA devices"):
        TrainingRunner(make_plan("train.precision=tf32"), slot).prepare()


def test_bf16_trains_nearly_as_fp32(make_plan: MakePlan, slot: Slot) -> None:
    plan = make_plan(*ONE, "train.precision=bf16", "train.epochs=4", "train.optimizer=adamw")
    values = losses(train(plan, slot))
    assert values[-1] < values[0]
    exact = losses(train(make_plan(*ONE, "train.epochs=4", "train.optimizer=adamw"), slot))
    assert values != exact
    assert values == pytest.approx(exact, rel=0.1)


@pytest.mark.faults
def test_divergence_ends_the_run_and_keeps_the_curve(make_plan: MakePlan, slot: Slot) -> None:
    *events, ended = train(make_plan(*ONE, "train.lr=1e30", "train.epochs=5"), slot)
    *_, last_epoch = (event for event in events if isinstance(event, EpochDone))
    assert isinstance(ended, RunEnded)
    assert not math.isfinite(last_epoch.train_loss)
    assert ended.status == "diverged"
    assert ended.error is not None
    assert f"epoch {last_epoch.epoch} is" in ended.error.message
    assert last_epoch.epoch < 5


def test_a_last_batch_of_one_is_refused_before_work(make_plan: MakePlan, slot: Slot) -> None:
    with pytest.raises(DataError, match="the last batch of 129 training samples would have a single sample"):
        TrainingRunner(make_plan("data.limit=129"), slot).prepare()


def test_blocks_that_do_not_fit_an_image_folder_are_refused(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "train" / name / "0.png")
        Image.new("RGB", (4, 4)).save(tmp_path / "train" / name / "1.png")
    plan = make_plan("data.dataset=image-folder", f"data.root={tmp_path}", "network.blocks=4")
    with pytest.raises(SpecError, match="4×4 pixels allow at most 3 blocks"):
        TrainingRunner(plan, slot).prepare()


def test_a_custom_network(make_plan: MakePlan, slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    plan = make_plan("sweep.networks=['own_networks:linear']", *ONE[1:], "network.options={gain=2.0}")
    runner = TrainingRunner(plan, slot)
    runner.prepare()
    started, *epochs, _ = runner.run(job_of(only_run(plan), tmp_path))
    assert isinstance(started, RunStarted)
    assert started.parameters == 65 * 10 + 11 * 10
    assert sum(isinstance(event, EpochDone) for event in epochs) == 2
    for name, message in (
        ("own_networks:nothing", "cannot be imported: AttributeError"),
        ("no_such_module:f", "cannot be imported: ModuleNotFoundError"),
        ("own_networks:not_callable", "is an int; it must be a function"),
        ("own_networks:too_many", r"returns \(2, 11\) for 2 images; expected outputs of shape \(2, 10\)"),
        (
            "own_networks:broken",
            r"at depth 2 cannot be built: ZeroDivisionError: a bug of the user's \(own_networks.py:14\)",
        ),
    ):
        with pytest.raises(SpecError, match=message):
            TrainingRunner(make_plan(f"sweep.networks=['{name}']", *ONE[1:]), slot).prepare()


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [0.1] * 6),
        ({"schedule": "step", "step_epochs": 2, "step_factor": 0.5}, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        ({"schedule": "cosine"}, [0.1 * (1 + math.cos(math.pi * e / 6)) / 2 for e in range(6)]),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_schedules(settings: dict[str, object], rates: list[float], optimizer: str) -> None:
    train = TrainSettings.model_validate({"lr": 0.1, "epochs": 6, "optimizer": optimizer, **settings})
    weight = nn.Parameter(torch.ones(1))
    chosen = create_optimizer(train, [weight])
    schedule = create_schedule(train, chosen)
    result = []
    for _ in range(6):
        result.append(chosen.param_groups[0]["lr"])
        weight.grad = torch.ones(1)
        chosen.step()
        schedule.step()
    assert result == pytest.approx(rates)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_optimizers_take_the_same_steps_as_torch(optimizer: str) -> None:
    train = TrainSettings(optimizer=optimizer, lr=0.1, momentum=0.8, weight_decay=0.01, schedule="cosine", epochs=4)
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    optimizers = [
        create_optimizer(train, [ours]),
        torch.optim.SGD([theirs], lr=0.1, momentum=0.8, weight_decay=0.01)
        if optimizer == "sgd"
        else torch.optim.AdamW([theirs], lr=0.1, betas=(0.8, 0.999), weight_decay=0.01),
    ]
    schedules = [create_schedule(train, each) for each in optimizers]
    for step in range(4):
        for weight, each, schedule in zip((ours, theirs), optimizers, schedules, strict=True):
            each.zero_grad()
            torch.autograd.backward((weight**2 * (step + 1)).sum())
            each.step()
            each.load_state_dict(each.state_dict())
            schedule.step()
        assert torch.equal(ours, theirs)
    assert not ours.grad_fn


def test_a_network_is_checked_and_a_step_measured_without_the_import_of_torchs_compiler() -> None:
    code = """
import sys, torch
from dnlbench.dnl.networks import DNLNetwork
from dnlbench.runners.training.memory import step_memory_bytes
from dnlbench.runners.training.optimize import create_optimizer, create_schedule
from dnlbench.studies.training.spec import TrainSettings
with torch.device("meta"):
    DNLNetwork("densenet", depth=2, input_shape=(1, 8, 8), classes=10)
train, network = TrainSettings(), torch.nn.Linear(2, 2)
optimizer = create_optimizer(train, network.parameters())
schedule = create_schedule(train, optimizer)
def step():
    optimizer.zero_grad()
    network(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    schedule.step()
assert step_memory_bytes(torch.device("cpu"), network.parameters(), step) > 0
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "oom"),
        (OSError(12, "Cannot allocate memory"), "oom"),
        (RuntimeError("shapes cannot be multiplied"), "failed"),
        (ValueError("out of memory, says a value"), "failed"),
    ],
)
def test_exceptions_are_classified(error: Exception, status: str) -> None:
    assert classify(error) == status


@pytest.mark.faults
def test_torch_really_says_so_when_host_memory_runs_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert classify(caught.value) == "oom"


def test_the_memory_of_a_step_is_that_of_its_live_tensors() -> None:
    mib = 2**20
    held = torch.zeros(mib, dtype=torch.uint8)

    def step() -> None:
        first = torch.ones(4 * mib, dtype=torch.uint8)
        view = first[: mib // 2].view(2, -1)  # no memory of its own
        second = first + 1
        del first, view  # the view's storage goes with them
        third = torch.ones(2 * mib, dtype=torch.uint8)
        third += held.sum().to(torch.uint8)
        del second, third
        torch.ones(mib, dtype=torch.uint8)

    assert step_memory_bytes(torch.device("cpu"), [held, held.view(2, -1)], step) == pytest.approx(9 * mib, abs=100)


@pytest.mark.parametrize(
    ("network", "optimizer", "implementation"),
    covering(["densenet", "dense-gaussian", "resnet"], ["sgd", "adamw"], ["standard", "memory-efficient"]),
)
def test_the_memory_of_a_run_is_estimated(
    make_plan: MakePlan, slot: Slot, network: str, optimizer: str, implementation: str
) -> None:
    data = ("data.dataset=synthetic", "data.image_size=16", "data.samples=64", "data.limit=64", "train.batch_size=64")
    axes = (f"sweep.networks=['{network}']", "sweep.depths=[8]", "sweep.seeds=[0]", f"train.optimizer={optimizer}")
    plan = make_plan(*axes, *data, "train.epochs=1", f"network.implementation={implementation}")
    *_, ended = train(plan, slot)
    *_, again = train(plan, slot)
    assert isinstance(ended, RunEnded)
    assert isinstance(again, RunEnded)
    assert ended.peak_memory_bytes == again.peak_memory_bytes
    estimated = plan.estimate(only_run(plan).point, (3, 16, 16), 10).memory_bytes
    assert estimated is not None
    assert estimated == pytest.approx(ended.peak_memory_bytes, rel=0.15)
