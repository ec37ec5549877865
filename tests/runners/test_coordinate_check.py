"""The coordinate check: planted changes, changes of networks, and measured states against explicit forward passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dnlbench.errors import SpecError
from dnlbench.events import Measured, RunEnded, RunPaused, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.profiles import Profile
from dnlbench.profiles.fits import fit_over_depth
from dnlbench.runners import create_runner
from dnlbench.runners.base import Job, Member
from dnlbench.runners.coordinate_check import CoordinateCheckRunner, coordinates, relative_changes
from dnlbench.spec import parse_spec
from dnlbench.stats import fit_order
from dnlbench.studies import STUDIES
from dnlbench.studies.coordinate_check import measured_steps, verdict_on

MakeProfile = Callable[..., Profile]
SPEC = """
name = "check"
study = "coordinate-check"
[sweep]
networks = ["resnet"]
depths = [2, 8, 32]
seeds = 3
[network]
blocks = 1
growth_rate = 4
base_depth = 2
[train]
batch_size = 32
optimizer = "adamw"
lr = 0.003
"""


def runner_of(slot: Slot, *overrides: str) -> CoordinateCheckRunner:
    runner = create_runner(Plan(parse_spec(SPEC, "spec.toml", overrides)), slot)
    assert isinstance(runner, CoordinateCheckRunner)
    return runner


def verdict(slot: Slot, *overrides: str) -> str:
    runner = runner_of(slot, *overrides)
    depths, seeds = runner.plan.spec.sweep.depths, runner.plan.spec.seeds
    changes = {(run.seed, run.point.depth): runner.measure(run, lambda: None)["change"] for run in runner.plan.runs}
    curves = [[float(changes[seed, depth]) for depth in depths] for seed in seeds]  # type: ignore[arg-type]
    return verdict_on(fit_order(depths, curves).order)


def test_states_change_equally_at_all_depths_with_the_matched_rule(slot: Slot) -> None:
    assert verdict(slot, "network.step_scaling=0.5", "train.depth_lr=matched") == "transfers"


def test_states_change_more_in_deep_networks_without_step(slot: Slot) -> None:
    assert verdict(slot, "network.step_scaling=0").startswith("does not: it grows like L^0.")


@pytest.mark.parametrize(
    ("exponent", "noise", "seen"),
    [
        (0.0, 0.01, "transfers"),
        (0.5, 0.01, "does not: it grows like L^0.50"),
        (-0.5, 0.01, "does not: it shrinks like L^-0.50"),
        (0.15, 0.1, "unclear"),
        (0.0, 0.9, "unclear"),
    ],
)
def test_planted_powers_have_their_verdict(exponent: float, noise: float, seen: str) -> None:
    depths = [2, 8, 32]
    curves = [[3 * depth ** (exponent + noise * (seed - 1) / 2) for depth in depths] for seed in range(3)]
    assert verdict_on(fit_order(depths, curves).order) == seen
    assert verdict_on(fit_order(depths, curves[:1]).order) == "unclear: one seed gives no interval"


def test_profiles_have_the_verdict_of_each_network(make_profile: MakeProfile) -> None:
    study, losses = STUDIES["coordinate-check"], {("resnet", depth): [0.1, 0.2, 0.3] for depth in (2, 4, 8)}
    runs = [
        run.model_copy(update={"measurements": {"change": 0.1 * run.depth**0.4 * (1 + 0.01 * run.seed)}})
        for run in make_profile(losses).runs
    ]
    fit = fit_over_depth(runs, study.fits[0], study)
    assert (fit.model, fit.seen, fit.theory, fit.problem) == ("growth", "does not: it grows like L^0.40", "", "")


def test_a_run_begins_measures_and_ends_or_is_suspended(slot: Slot) -> None:
    runner = runner_of(slot, "sweep.depths=2", "check.steps=3")
    (run, *_) = runner.plan.runs
    member = Member(run=run, attempt=1, folder=Path("nowhere"), epochs_known=0)
    started, result, ended = runner.run(Job(members=(member,), should_suspend=lambda: False))
    assert isinstance(started, RunStarted)
    assert started.parameters == runner.plan.estimate(run.point).parameters
    assert isinstance(result, Measured)
    quantities = {quantity.name for quantity in runner.plan.study.quantities}
    assert set(result.measurements) == quantities | {"change_of_layers"}
    assert {name for name in quantities if "step" in name} == {"change_step_1"}
    assert isinstance(ended, RunEnded)
    assert ended.status == "ok"
    *_, last = runner.run(Job(members=(member,), should_suspend=lambda: True))
    assert isinstance(last, RunPaused)


def test_steps_are_measured_at_halves() -> None:
    assert [measured_steps(steps) for steps in (1, 3, 10)] == [(1,), (1, 3), (1, 2, 5, 10)]


class Custom(nn.Module):
    """Two residual layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.head = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.layers(x))
        return y


def test_changes_are_relative_to_the_initial_state() -> None:
    network, x = Custom(), torch.randn(5, 2)
    start = coordinates(network, x)
    first, last = network.layers[0](x), network.layers(x)
    for state, expected in zip(start, (first, last, network.head(last)), strict=True):
        assert torch.equal(state, expected)
    now = [start[0] * 1.5, start[1], start[2] + 2.0]
    assert relative_changes(start, now) == pytest.approx([0.5, 0.0, 2.0])
    with pytest.raises(SpecError, match="study = 'coordinate-check': Linear does not declare its layers"):
        coordinates(nn.Linear(2, 2), x)


def test_dense_states_are_those_of_the_blocks(slot: Slot) -> None:
    runner = runner_of(slot, "sweep.networks=densenet", "sweep.depths=3", "network.blocks=2", "check.steps=1")
    result = runner.measure(runner.plan.runs[0], lambda: None)
    assert len(result["change_of_layers"]) == 6  # type: ignore[arg-type]


def test_epochs_have_no_effect_on_runs() -> None:
    plans = [Plan(parse_spec(SPEC, "spec.toml", o)) for o in ((), ("train.epochs=3",), ("train.lr=0.1",))]
    ids = [plan.runs[0].run_id for plan in plans]
    assert ids[0] == ids[1] != ids[2]
