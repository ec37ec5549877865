"""Objectives and metrics, compared with torch's functions, and runs that train with them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dnlbench.cli.list import registries
from dnlbench.engine.run import run_sweep
from dnlbench.errors import NetworkError, SpecError
from dnlbench.events import DataInfo, EpochDone, NetworkMeasured
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile, read_profile
from dnlbench.progress import Observer
from dnlbench.report.profile import profile_csv, profile_grids
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.data import Dataset, Split
from dnlbench.runners.training.data.split import MemorySplit
from dnlbench.runners.training.objectives import Outcome
from dnlbench.studies.training.spec import TrainSettings
from tests.conftest import request_for

MakePlan = Callable[..., Plan]
MINE = """
import torch
from torch import nn
from torch.nn import functional

class Shaped(nn.Module):
    def __init__(self, size, *shape):
        super().__init__()
        self.linear, self.shape = nn.Linear(size, torch.Size(shape).numel()), shape

    def forward(self, x):
        return self.linear(x.flatten(1).float()).view(-1, *self.shape)

def network(depth, input_shape, classes, network):
    return Shaped(torch.Size(input_shape).numel(), classes)

def language(depth, input_shape, classes, network):
    return Shaped(input_shape[0], input_shape[0], classes)

def halved(outputs, targets):
    return functional.cross_entropy(outputs, targets) / 2

def margin(outputs, targets):
    top = outputs.topk(2, dim=-1).values
    return (top[:, 0] - top[:, 1]).mean()

def per_sample(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none")

def constant(outputs, targets):
    return torch.zeros(())

def broken(outputs, targets):
    return outputs.logits

def narrow(depth, input_shape, classes, network):
    return Shaped(torch.Size(input_shape).numel(), 3)
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield
    sys.modules.pop("mine", None)


def outcome(**train: Any) -> Outcome:
    return Outcome.of(TrainSettings(**train))


def random_logits(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(*shape, generator=generator),
        torch.randint(shape[-1], shape[:-1], generator=generator),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch(smoothing: float) -> None:
    outputs, targets = random_logits(7, 10)
    loss = functional.cross_entropy(outputs, targets, label_smoothing=smoothing)
    both = outcome(label_smoothing=smoothing, metrics=("accuracy", "top-5-accuracy", "cross-entropy"))
    assert both.loss(outputs, targets) == loss
    best = outputs.sort(dim=1, descending=True).indices
    assert both.totals(outputs, targets) == {
        "loss": float(functional.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction="sum")),
        "accuracy": sum(int(best[n, 0] == targets[n]) for n in range(7)),
        "top_5_accuracy": sum(int(targets[n] in best[n, :5]) for n in range(7)),
        "cross_entropy": float(functional.cross_entropy(outputs, targets, reduction="sum")),
    }


def test_guessing_has_the_loss_of_chance_under_any_smoothing() -> None:
    targets = torch.arange(10)
    for smoothing in (0.0, 0.3):
        loss = outcome(label_smoothing=smoothing).loss(torch.zeros(10, 10), targets)
        assert float(loss) == pytest.approx(math.log(10))


def test_cross_entropy_of_tokens_is_the_mean_over_positions() -> None:
    outputs, targets = random_logits(3, 5, 11)
    per_position = [functional.cross_entropy(outputs[:, t], targets[:, t]) for t in range(5)]
    assert float(outcome().loss(outputs, targets)) == pytest.approx(fmean(map(float, per_position)), rel=1e-6)
    assert outcome().totals(outputs, targets)["loss"] == pytest.approx(3 * fmean(map(float, per_position)), rel=1e-6)


def test_the_next_token_is_compared_with_the_output_before_it() -> None:
    outputs, tokens = random_logits(3, 5, 11)
    by_hand = [-torch.log_softmax(outputs[b, t], 0)[tokens[b, t + 1]] for b in range(3) for t in range(4)]
    hits = [float(outputs[b, t].argmax() == tokens[b, t + 1]) for b in range(3) for t in range(4)]
    next_token = outcome(objective="next-token")
    assert float(next_token.loss(outputs, tokens)) == pytest.approx(fmean(map(float, by_hand)), rel=1e-6)
    totals = next_token.totals(outputs, tokens)
    assert totals["loss"] == pytest.approx(3 * fmean(map(float, by_hand)), rel=1e-6)
    assert totals["accuracy"] == pytest.approx(3 * fmean(hits))


def test_mean_squared_and_absolute_errors_are_means_over_the_values_of_a_target() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    mse = outcome(objective="mse", metrics=("mean-absolute-error",))
    assert float(mse.loss(outputs, targets)) == (4 + 9) / 4
    assert mse.totals(outputs, targets) == {"loss": 2 * (4 + 9) / 4, "mean_absolute_error": 2 * (2 + 3) / 4}


def test_outputs_of_16_bits_are_converted_before_the_loss() -> None:
    outputs, targets = random_logits(7, 10)
    short = outputs.bfloat16()
    assert outcome().loss(short, targets) == functional.cross_entropy(short.float(), targets)


def regression() -> Dataset:
    """Targets that are linear in the inputs, plus noise."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 6, generator=generator)
    targets = inputs @ torch.randn(6, 3, generator=generator) + 0.1 * torch.randn(64, 3, generator=generator)
    return dataset(MemorySplit(inputs, targets), outputs=3)


def tokens() -> Dataset:
    """Sequences that count up modulo 5 from a random token."""
    start = torch.randint(5, (64, 1), generator=torch.Generator().manual_seed(1))
    counting = (start + torch.arange(6)) % 5
    return dataset(MemorySplit(counting, counting), outputs=5)


def dataset(split: Split, outputs: int) -> Dataset:
    info = DataInfo(
        name="mine",
        sha256=split.sha256,
        samples=len(split),
        input_shape=tuple(split.inputs.shape[1:]),
        inputs=split.kind_of_inputs,
        targets=split.kind_of_targets,
        classes=outputs,
    )
    return Dataset(info=info, training=split, evaluation=split)


def trained(plan: Plan, slot: Slot, folder: Path, data: Dataset, seeds: tuple[int, ...]) -> list[list[Any]]:
    """Return the values of epochs and of the final network of runs that train together."""
    runner = TrainingRunner(plan, slot)
    runner.data = data
    runner.prepare()
    members = []
    for seed in seeds:
        run = plan.runs[seed]
        (place := folder / f"{len(seeds)}" / run.run_id).mkdir(parents=True, exist_ok=True)
        members.append(Member(run=run, attempt=1, folder=place, epochs_known=0))
    values: dict[str, list[Any]] = {member.run.run_id: [] for member in members}
    for event in runner.run(Job(members=tuple(members), should_suspend=lambda: False)):
        if isinstance(event, EpochDone):
            seconds = {"event", "run_id", "time", "seconds", "samples_per_s"}
            values[event.run_id].append(event.model_dump(exclude=seconds))
        elif isinstance(event, NetworkMeasured) and event.stage == "final":
            values[event.run_id].append(event.measurements)
    return list(values.values())


TASKS = {
    "mse": (regression, ["sweep.networks=['mine:network']", "train.metrics=['mean-absolute-error']"]),
    "next-token": (tokens, ["sweep.networks=['mine:language']"]),
}


@pytest.mark.parametrize("objective", TASKS)
def test_a_task_is_learned_and_batched_seeds_train_as_single_runs(
    objective: str, make_plan: MakePlan, slot: Slot, tmp_path: Path
) -> None:
    make, settings = TASKS[objective]
    plan = make_plan(
        *settings,
        *(f"train.objective={objective}", "sweep.depths=[1]", "sweep.seeds=2", "data.limit=64", "train.batch_size=16"),
        *("train.epochs=8", "train.lr=0.1", "train.evaluate=true", "train.evaluate_training=true"),
    )
    pack = trained(plan, slot, tmp_path, make(), (0, 1))
    alone = [trained(plan, slot, tmp_path, make(), (seed,))[0] for seed in (0, 1)]
    for here, there in zip(pack, alone, strict=True):
        for values, expected in zip(here, there, strict=True):
            assert values == pytest.approx(expected, rel=1e-4, abs=1e-6)
    first, last, final = pack[0][0], pack[0][-2], pack[0][-1]
    assert last["train_loss"] < 0.5 * first["train_loss"]
    metric = "mean_absolute_error" if objective == "mse" else "accuracy"
    assert last["evaluation_loss"] == last["train_loss_evaluation"] == final["train_loss_evaluation"]
    assert last[f"evaluation_{metric}"] == last[f"train_{metric}_evaluation"] == final[f"train_{metric}_evaluation"]
    assert ("accuracy" in str(final)) == (objective == "next-token")


def values_of(profile: Profile, name: str) -> list[list[float | None]]:
    return [[epoch.value(name) for epoch in run.epochs] for run in profile.runs]


@pytest.fixture
def profile(make_plan: MakePlan, tmp_path: Path) -> Profile:
    plan = make_plan(
        *("sweep.networks=['mine:network']", "sweep.depths=[1]", "train.epochs=4", "train.evaluate=true"),
        *("train.objective=mine:halved", "train.metrics=['accuracy','mine:margin']", "train.last_epochs=2"),
        "train.evaluate_training=true",
    )
    options: dict[str, Any] = {"run_dir": tmp_path / "rd", "executor": "inline", "out": tmp_path / "p.json"}
    result = run_sweep(request_for(plan, **options), Observer())
    assert result.path is not None
    return read_profile(result.path)


def test_a_custom_objective_and_metric_are_in_profile_tables_and_exports(profile: Profile) -> None:
    assert check_profile(profile) == []
    assert [run.status for run in profile.runs] == ["ok", "ok"]
    losses, evaluation = values_of(profile, "train_loss"), values_of(profile, "evaluation_loss")
    assert max(loss or 0 for of_run in losses for loss in of_run) < math.log(10), "half of a cross-entropy"
    margins = values_of(profile, "evaluation_margin")
    assert all(value is not None and value > 0 for of_run in margins for value in of_run)
    assert values_of(profile, "train_margin_evaluation") != margins
    for run, of_run, evaluated in zip(profile.runs, losses, evaluation, strict=True):
        assert run.measurements["best_evaluation_loss"] == min(map(float, evaluated))  # type: ignore[arg-type]
        assert run.measurements["best_evaluation_epoch"] == 1 + evaluated.index(min(evaluated))  # type: ignore[type-var]
        assert run.measurements["last_epochs_train_loss"] == fmean(map(float, of_run[2:]))  # type: ignore[arg-type]
        assert run.measurements["train_margin_evaluation"] == run.epochs[-1].value("train_margin_evaluation")
    heads = {column.head: grid.title for grid in profile_grids(profile) for column in grid.columns}
    assert "final training loss" in heads, "a custom objective has no unit"
    assert "evaluation margin" in heads
    assert heads["training loss, mean of the last 2 epochs"] == "Over the epochs"
    assert "evaluation_margin" in profile_csv(profile).splitlines()[0]
    assert not any(fit.at_most_chance for fit in profile.declared.fits)
    assert {"train.objective", "mine:halved"} & {*json.dumps(profile.spec).split('"')}
    assert any(name.startswith("mine") for name in profile.custom_code.files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["train.objective=mse"],
            "train.objective = 'mse': needs targets that are values; those of digits are classes",
        ),
        (
            ["train.objective=next-token"],
            "needs targets that are tokens; those of digits are classes. Choose cross-entropy",
        ),
        (
            ["train.metrics=['mean-absolute-error']"],
            "train.metrics = 'mean-absolute-error': needs targets that are values; those of digits are classes. Choose acc",
        ),
        (
            ["train.objective=mine:per_sample"],
            r"train.objective = 'mine:per_sample' returns a tensor of shape \(2,\); expected a scalar floating-point tensor",
        ),
        (["train.objective=mine:constant"], "train.objective = 'mine:constant': the value has no gradient"),
        (
            ["train.metrics=['mine:broken']"],
            r"train.metrics = 'mine:broken' fails on outputs \(2, 10\) and targets \(2,\): .*\(mine.py:34\)",
        ),
        (["train.objective=mine:absent"], "train.objective: 'mine:absent' cannot be imported"),
        (
            ["sweep.networks=['mine:narrow']"],
            r"returns \(2, 3\) for 2 images; expected outputs of shape \(2, 10\)",
        ),
    ],
)
def test_wrong_kinds_and_shapes_are_refused(settings: list[str], message: str, make_plan: MakePlan, slot: Slot) -> None:
    with pytest.raises((SpecError, NetworkError), match=message) as caught:
        TrainingRunner(make_plan(*settings), slot).prepare()
    assert caught.value.exit_code == 2


def test_tokens_that_are_already_shifted_are_refused_by_next_token(make_plan: MakePlan, slot: Slot) -> None:
    split = tokens().training
    runner = TrainingRunner(make_plan("sweep.networks=['mine:language']", "train.objective=next-token"), slot)
    runner.data = dataset(MemorySplit(split.inputs[:, :-1].contiguous(), split.inputs[:, 1:].contiguous()), outputs=5)
    with pytest.raises(SpecError, match=r"already shifted train with train.objective = 'cross-entropy'"):
        runner.prepare()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["train.objective=mse", "train.label_smoothing=0.1"],
            "only with train.objective = cross-entropy or next-token",
        ),
        (
            ["train.objective=entropy"],
            "no objective with this name; a custom objective is written package.module:objective",
        ),
        (["train.metrics=['accuracy','mine:accuracy']"], "mine:accuracy has the same name in results as accuracy"),
        (["train.metrics=['mine:loss']"], "mine:loss has the same name in results as the loss"),
        (["train.last_epochs=3"], "a run has only 2 epochs"),
    ],
)
def test_specs_that_do_not_fit_together_are_refused(settings: list[str], message: str, make_plan: MakePlan) -> None:
    with pytest.raises(SpecError, match=message):
        make_plan(*settings)


def test_units_and_chance_follow_the_objective(make_plan: MakePlan) -> None:
    for objective, unit, bounded in (
        ("cross-entropy", "nats", True),
        ("next-token", "nats", False),
        ("mse", "", False),
    ):
        study = make_plan(f"train.objective={objective}").study
        losses = [each for each in (*study.quantities, *study.epoch_metrics) if each.name.endswith("loss")]
        assert len(losses) > 3
        assert {each.unit for each in losses} == {unit}
        assert study.has_chance_level == bounded


def test_objectives_and_metrics_are_listed() -> None:
    assert [part.name for part in registries()["objectives"].listed()] == ["cross-entropy", "mse", "next-token"]
    assert all(part.summary for part in registries()["metrics"].listed())


def test_the_mean_of_last_epochs_changes_no_run(make_plan: MakePlan) -> None:
    assert make_plan("train.last_epochs=1").by_id.keys() == make_plan().by_id.keys()
    assert make_plan("train.label_smoothing=0.1").by_id.keys() != make_plan().by_id.keys()
