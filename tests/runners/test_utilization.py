"""Utilization of devices, from counted operations to the profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dnlbench.events import EpochDone, RunEvent, RunStarted, flops_utilization, fold
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile
from dnlbench.runners.base import Job, Member
from dnlbench.runners.training import TrainingRunner
from dnlbench.runners.training.build import build_network
from dnlbench.runners.training.utilization import matrix_peak, training_flops
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

MakePlan = Callable[..., Plan]
ONE = ("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=[0]", "train.epochs=1")
CUSTOM_CODE = Point(network="own:network", depth=1)


class CustomNetwork(nn.Module):
    """Draws a random number in each pass, and has a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(1), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.norm(images + torch.rand(())).flatten(1))
        return logits


def events_of(runner: TrainingRunner, folder: Path) -> list[RunEvent]:
    job = Job(
        members=(Member(run=runner.plan.runs[0], attempt=1, folder=folder, epochs_known=0),),
        should_suspend=lambda: False,
    )
    return list(runner.run(job))


def started_of(events: list[RunEvent]) -> RunStarted:
    (started,) = (event for event in events if isinstance(event, RunStarted))
    return started


@pytest.fixture
def spec_and_runner(make_plan: MakePlan, slot: Slot) -> tuple[TrainingSpec, TrainingRunner]:
    runner = TrainingRunner(make_plan(*ONE), slot)
    return runner.spec, runner


def test_built_in_networks_train_with_three_times_the_operations_of_a_forward_pass(
    spec_and_runner: tuple[TrainingSpec, TrainingRunner],
) -> None:
    spec, runner = spec_and_runner
    point = runner.plan.runs[0].point
    network = build_network(spec, point, runner.data.info)
    # 8×8 pixels: stem 1 → 6, layer 6 → 3, transition 9 → 4; 4×4 pixels: layer 4 → 3, classifier 7 → 10
    forward = 64 * (9 * 1 * 6 + 9 * 6 * 3 + 9 * 4) + 16 * 9 * 4 * 3 + 7 * 10
    assert training_flops(network, spec, point, runner.data.info) == 3 * 2 * forward


def test_counting_a_custom_network_leaves_no_trace(spec_and_runner: tuple[TrainingSpec, TrainingRunner]) -> None:
    spec, runner = spec_and_runner
    network, state = CustomNetwork().train(), torch.get_rng_state()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert training_flops(network, spec, CUSTOM_CODE, runner.data.info) == 3 * 2 * 64 * 10
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("bad", ["without products", "not to be watched"])
def test_a_network_that_cannot_be_counted_is_trained_all_the_same(
    spec_and_runner: tuple[TrainingSpec, TrainingRunner], bad: str
) -> None:
    spec, runner = spec_and_runner
    network = nn.Flatten() if bad == "without products" else nn.Linear(3, 3)
    assert training_flops(network, spec, CUSTOM_CODE, runner.data.info) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_peak_leaves_random_numbers_as_they_are(precision: str) -> None:
    state = torch.get_rng_state()
    assert 0 < matrix_peak(torch.device("cpu"), precision) < float("inf")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_prepared_runner_reports_operations_and_peak(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    runner = TrainingRunner(make_plan(*ONE), slot)
    runner.prepare()
    events = events_of(runner, tmp_path)
    started, history = started_of(events), fold(events)
    assert started.flops_per_sample is not None
    assert started.peak_flops is not None
    (rate,) = (event.samples_per_s for event in events if isinstance(event, EpochDone))
    assert history.utilization == pytest.approx(rate * started.flops_per_sample / started.peak_flops)


def test_without_a_peak_there_is_no_utilization(make_plan: MakePlan, slot: Slot, tmp_path: Path) -> None:
    events = events_of(TrainingRunner(make_plan(*ONE), slot), tmp_path)
    assert started_of(events).peak_flops is None
    assert fold(events).utilization is None


def test_the_runs_of_a_pack_count_together() -> None:
    assert flops_utilization(100.0, 6e6, 1e9, 1) == pytest.approx(0.6)
    assert flops_utilization(25.0, 6e6, 1e9, 4) == pytest.approx(0.6)
    assert flops_utilization(None, 6e6, 1e9, 1) is None
    assert flops_utilization(100.0, None, 1e9, 1) is None
    assert flops_utilization(100.0, 6e6, None, 1) is None


def test_an_inconsistent_utilization_is_noticed(make_profile: Callable[..., Profile]) -> None:
    profile = make_profile({("densenet", 2): [0.3]})
    counted = {"flops_per_sample": 6e6, "peak_flops": 1e10}

    def problems(utilisation: float | None) -> list[str]:
        run = profile.runs[0].model_copy(update={**counted, "utilisation": utilisation})
        return [p for p in check_profile(profile.model_copy(update={"runs": (run,)})) if "utilization" in p]

    assert problems(0.6) == []
    assert len(problems(0.7)) == len(problems(None)) == 1
