"""The training protocol, compared with torch's own optimizers, schedulers and clipping, and with explicit loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.optim import lr_scheduler

from dnlbench.dnl.networks import DNLNetwork
from dnlbench.errors import SpecError
from dnlbench.events import EpochDone, RunEvent, RunPaused, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.base import Job, Member
from dnlbench.runners.checkpoint import Checkpoints
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.learner import Learner
from dnlbench.runners.training.optimize import create_optimizer
from dnlbench.runners.training.pack import PackLearner
from dnlbench.runners.training.progress import Tally
from dnlbench.runners.training.step import STEPS_BEFORE, GraphedStep, TrainingStep
from dnlbench.spec import parse_spec
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import TrainSettings

MakePlan = Callable[..., Plan]
SMALL = (
    "sweep.networks=densenet",
    "sweep.depths=1",
    "sweep.seeds=[3,5]",
    "data.limit=76",
    "train.batch_size=16",
    "train.epochs=2",
    "network.blocks=1",
)
STEPS = 5
"""Training steps of an epoch with 76 samples in batches of 16."""
SPEC = """
name = "protocol"
[sweep]
networks = ["densenet"]
depths = [2]
"""


def weight() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))


OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[[list[nn.Parameter]], optim.Optimizer]]] = {
    "nesterov": (
        {"nesterov": True},
        lambda p: optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=True),
    ),
    "adam": (
        {"optimizer": "adam", "beta2": 0.9, "eps": 1e-3},
        lambda p: optim.Adam(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.01),
    ),
    "adamw": (
        {"optimizer": "adamw", "beta2": 0.9, "eps": 1e-3},
        lambda p: optim.AdamW(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.01),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_the_steps_of_torch(name: str) -> None:
    settings, make = OPTIMIZERS[name]
    train = TrainSettings(lr=0.1, momentum=0.8, weight_decay=0.01, **settings)
    ours, theirs = weight(), weight()
    optimizers = create_optimizer(train, [ours]), make([theirs])
    for step in range(4):
        for parameter, each in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = 2 * parameter.detach() * (step + 1)
            each.step()
        assert torch.equal(ours, theirs)
    assert not torch.equal(ours, weight())


SCHEDULES: dict[str, tuple[dict[str, Any], Callable[[optim.Optimizer], lr_scheduler.LRScheduler]]] = {
    "constant": ({}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    "cosine": ({"schedule": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=6)),
    "step": (
        {"schedule": "step", "step_epochs": 2, "step_factor": 0.5},
        lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5),
    ),
    "milestones": (
        {"schedule": "milestones", "milestones": [2, 5], "step_factor": 0.1},
        lambda o: lr_scheduler.MultiStepLR(o, [2, 5], gamma=0.1),
    ),
}


@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_torch(name: str, warmup_steps: int) -> None:
    """Warm-up is torch's LinearLR from 1/w to 1 in w − 1 steps, times the schedule by epochs."""
    settings, make = SCHEDULES[name]
    learner = Learner(nn.Linear(2, 2), TrainSettings(lr=0.2, epochs=6, warmup_steps=warmup_steps, **settings))
    by_epoch = make(optim.SGD([weight()], lr=0.2))
    by_step = lr_scheduler.LinearLR(
        optim.SGD([weight()], lr=1.0), start_factor=1 / max(1, warmup_steps), total_iters=max(0, warmup_steps - 1)
    )
    for epoch in range(6):
        for step in range(3):
            learner.set_rates(3 * epoch + step)
            factor = by_step.get_last_lr()[0] if warmup_steps > 1 else 1.0
            assert learner.rates == pytest.approx([by_epoch.get_last_lr()[0] * factor], rel=1e-12)
            by_step.optimizer.step()
            by_step.step()
        learner.optimizer.step()
        learner.end_epoch()
        by_epoch.optimizer.step()
        by_epoch.step()
    assert warmup_steps or learner.schedule.get_last_lr() == by_epoch.get_last_lr()


def networks(count: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(count)]


@pytest.mark.parametrize("clip_norm", [1e-3, 0.6, 1e3])
def test_each_network_of_a_batch_is_clipped_by_its_own_norm(clip_norm: float) -> None:
    train = TrainSettings(clip_norm=clip_norm)
    inputs, targets = torch.randn(3, 8, 3), torch.arange(8).remainder(2).expand(3, -1)
    inputs[1] *= 100  # a longer gradient than the others
    alone = networks(3)
    pack = PackLearner(networks(3), train)
    pack.backward(pack.losses(inputs, targets))
    norms = pack.gradient_norms()
    pack.clip(norms)
    for index, network in enumerate(alone):
        functional.cross_entropy(network(inputs[index]), targets[index]).backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        torch.testing.assert_close(norms[index], norm)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(pack.gradients(index)[name], parameter.grad)
        learner = Learner(networks(3)[index], train)
        learner.backward(learner.losses(inputs[index : index + 1], targets[index : index + 1]))
        learner.clip(learner.gradient_norms())
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            assert torch.equal(learner.gradients(0)[name], parameter.grad)


def test_a_diverged_network_does_not_change_the_clipping_of_the_others() -> None:
    pack = PackLearner(networks(2), TrainSettings(clip_norm=0.1))
    for parameter in pack.parameters:
        parameter.grad = torch.ones_like(parameter)
        parameter.grad[0] = math.nan
    pack.clip(pack.gradient_norms())
    assert float(nn.utils.get_total_norm(pack.gradients(1).values())) == pytest.approx(0.1, rel=1e-4)


def attempt(
    plan: Plan, slot: Slot, folder: Path, seeds: Sequence[int] = (0,), *, steps: int | None = None, known: int = 0
) -> list[RunEvent]:
    """Train runs of the plan together, up to a number of training steps."""
    members = []
    for run in (plan.runs[seed] for seed in seeds):
        (folder / run.run_id).mkdir(parents=True, exist_ok=True)
        members.append(Member(run=run, attempt=1, folder=folder / run.run_id, epochs_known=known))
    left = iter(range(steps)) if steps is not None else None
    job = Job(members=tuple(members), should_suspend=lambda: left is not None and next(left, None) is None)
    return list(TrainingRunner(plan, slot).run(job))


def losses(events: Sequence[RunEvent], run_id: str) -> list[float]:
    return [event.train_loss for event in events if isinstance(event, EpochDone) and event.run_id == run_id]


PROTOCOL = (
    "train.lr=0.1",
    "train.nesterov=true",
    "train.schedule=milestones",
    "train.milestones=1",
    "train.warmup_steps=7",
    "train.clip_norm=0.3",
    "train.weight_decay=0.01",
    "data.augment=[crop,flip]",
    "data.crop_padding=1",
    "data.normalize=true",
)


def test_losses_of_the_full_protocol_are_those_of_an_explicit_loop(
    make_plan: MakePlan, slot: Slot, tmp_path: Path
) -> None:
    """The loop uses torch's optimizer, scheduler, clipping and image operations, one image at a time."""
    plan = make_plan(*SMALL, *PROTOCOL)
    runner = TrainingRunner(plan, slot)
    raw, labels = runner.data.training.inputs, runner.data.training.targets
    pixels = raw.double() / 255
    images = ((pixels - pixels.mean()) / pixels.std(correction=0)).float()
    torch.manual_seed(3)
    network = DNLNetwork("densenet", depth=1, input_shape=(1, 8, 8), classes=10, blocks=1, growth_rate=3)
    optimizer = optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    schedule = lr_scheduler.MultiStepLR(optimizer, [1])
    expected = []
    for epoch in (1, 2):
        draws = augmentation_of(runner, 3, epoch)
        total = 0.0
        for step, indices in enumerate(torch.split(order_of(3, epoch), 16)):
            changed = [
                by_hand(images[index], *draws[16 * step + place].tolist()) for place, index in enumerate(indices)
            ]
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(torch.stack(changed)), labels[indices])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 0.3)
            optimizer.param_groups[0]["lr"] = schedule.get_last_lr()[0] * min(1, (STEPS * (epoch - 1) + step + 1) / 7)
            optimizer.step()
            total += loss.item() * len(indices)
        schedule.step()
        expected.append(total / 76)
    assert losses(attempt(plan, slot, tmp_path), plan.runs[0].run_id) == pytest.approx(expected, rel=2e-4)


def order_of(seed: int, epoch: int) -> Tensor:
    from dnlbench.runners.training.data import epoch_order

    return epoch_order(76, seed, epoch)


def augmentation_of(runner: TrainingRunner, seed: int, epoch: int) -> Tensor:
    """Return the draws of a run's epoch, shape (samples, 3)."""
    run = next(run for run in runner.plan.runs if run.seed == seed)
    augmentation = runner.setup._augmentation([run])
    assert augmentation is not None
    augmentation.start_epoch(epoch)
    return augmentation._draws[:, 0].flatten(0, 1)


def by_hand(image: Tensor, upper: int, left: int, flip: int, padding: int = 1) -> Tensor:
    _, height, width = image.shape
    padded = torch.zeros(len(image), height + 2 * padding, width + 2 * padding)
    padded[:, padding : padding + height, padding : padding + width] = image
    part = padded[:, upper : upper + height, left : left + width]
    return part.flip(-1) if flip else part


@pytest.mark.parametrize("steps", [2, STEPS, STEPS + 3])
def test_a_suspended_run_of_the_full_protocol_resumes_with_the_same_bits(
    make_plan: MakePlan, slot: Slot, tmp_path: Path, steps: int
) -> None:
    plan = make_plan(*SMALL, *PROTOCOL, "network.dropout=0.2")
    run_id = plan.runs[0].run_id
    expected = attempt(plan, slot, tmp_path / "at once")
    first = attempt(plan, slot, tmp_path / "suspended", steps=steps)
    assert isinstance(first[-1], RunPaused)
    torch.manual_seed(99)
    second = attempt(plan, slot, tmp_path / "suspended", known=len(fold(first).epochs))
    assert [*losses(first, run_id), *losses(second, run_id)] == losses(expected, run_id)
    ours, theirs = (weights(tmp_path / name / run_id) for name in ("suspended", "at once"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def weights(folder: Path) -> dict[str, Tensor]:
    state = Checkpoints(folder).load()
    assert state is not None
    result: dict[str, Tensor] = state["network"]
    return result


def test_a_batch_of_seeds_trains_as_its_runs_do_alone(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    plan = make_plan(*SMALL, *PROTOCOL)
    together = attempt(plan, slot, tmp_path / "together", (0, 1))
    for seed in (0, 1):
        alone = attempt(plan, slot, tmp_path / "alone", (seed,))
        run_id = plan.runs[seed].run_id
        assert losses(together, run_id) == pytest.approx(losses(alone, run_id), rel=1e-5)


def test_longer_runs_continue_shorter_ones_unless_the_rate_depends_on_the_number_of_epochs() -> None:
    def run_ids(*changes: str) -> list[str]:
        return [run.run_id for run in Plan(parse_spec(SPEC, "spec.toml", changes)).runs]

    milestones = ("train.schedule=milestones", "train.milestones=[3,5]", "train.warmup_steps=9", "data.augment=flip")
    assert run_ids(*milestones, "train.epochs=4") == run_ids(*milestones, "train.epochs=8")
    cosine = ("train.schedule=cosine", "train.warmup_steps=9")
    assert run_ids(*cosine, "train.epochs=4") != run_ids(*cosine, "train.epochs=8")


class Recorded(GraphedStep):
    """A graphed step that records what it would do, without CUDA."""

    def __init__(self, learner: Learner) -> None:
        step = TrainingStep(learner, None, Tally.start(torch.device("cpu"), 1), bf16=False)  # type: ignore[arg-type]
        super().__init__(step, learner, batch_size=4)
        self.done: list[str] = []

    def _run_on_side_stream(self, indices: Tensor) -> None:
        self.done.append("eager")

    def _record(self, indices: Tensor) -> None:
        self._graph = object()  # type: ignore[assignment]
        self.done.append("record")

    def _replay(self, indices: Tensor) -> None:
        self.done.append("replay")


def test_steps_with_changing_rates_run_without_a_graph() -> None:
    train = TrainSettings(warmup_steps=5, schedule="milestones", milestones=(1,))
    learner = Learner(nn.Linear(2, 2), train)
    step = Recorded(learner)
    for epoch in range(2):
        for number in range(8):
            learner.set_rates(8 * epoch + number)
            step(torch.zeros(1, 4 if number < 7 else 2))  # the last batch is smaller
        learner.optimizer.step()
        learner.end_epoch()
    assert STEPS_BEFORE < 5
    first = [*["eager"] * 5, "record", "replay", "replay", "eager"]
    assert step.done == [*first, "eager", "record", *["replay"] * 6, "eager"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("train.nesterov=true train.optimizer=adam", r'train\.nesterov = True: has an effect only with .*"sgd"'),
        ("train.nesterov=true train.momentum=0", r"train\.nesterov = True: requires train\.momentum > 0"),
        ("train.beta2=0.9", r'train\.beta2 = 0\.9: has an effect only with train\.optimizer = "adam" or "adamw"'),
        ("train.eps=0.1", r'train\.eps = 0\.1: has an effect only with train\.optimizer = "adam" or "adamw"'),
        ("train.schedule=milestones", r"train\.schedule = 'milestones': requires train\.milestones"),
        ("train.milestones=3", r'train\.milestones = .*: has an effect only with train\.schedule = "milestones"'),
        ("train.schedule=milestones train.milestones=[3,3]", r"train\.milestones repeats 3: list each value once"),
        ("train.clip_norm=0", r"train\.clip_norm = 0: must be greater than 0"),
        ("data.augment=[flip,rotate]", r"data\.augment.*'rotate'.*allowed: crop, flip"),
        ("data.augment=[flip,flip]", r"data\.augment repeats 'flip': list each value once"),
        ("data.augment=flip data.crop_padding=2", r'data\.crop_padding = 2: has an effect only with .*\["crop"\]'),
        ("network.dropout=1", r"network\.dropout = 1: must be less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(SPEC, "spec.toml", changes.split())


def test_the_order_of_milestones_and_transformations_has_no_meaning() -> None:
    one = ("train.schedule=milestones", "train.milestones=[5,3]", "data.augment=[flip,crop]")
    other = ("train.schedule=milestones", "train.milestones=[3,5]", "data.augment=[crop,flip]")
    specs = [parse_spec(SPEC, "spec.toml", changes) for changes in (one, other)]
    assert specs[0] == specs[1]
    assert isinstance(specs[0], TrainingSpec)
    assert (specs[0].train.milestones, specs[0].data.augment) == ((3, 5), ("crop", "flip"))
