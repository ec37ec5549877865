"""Runs of the embedding study. Wrong splittings must be detected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dnlbench.dnl.embedding.descent import largest
from dnlbench.dnl.embedding.margin import KKT
from dnlbench.dnl.embedding.splitting import Splitting
from dnlbench.errors import SpecError
from dnlbench.events import Measured, RunEnded, RunPaused, RunStarted
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.runners.base import Job, Member
from dnlbench.runners.embedding import EmbeddingRunner, spread
from dnlbench.runners.measuring import Measurements
from dnlbench.spec import parse_spec, read_spec
from dnlbench.studies.embedding import EMBEDDING, EmbeddingSpec, weight_sizes

TINY = """
name = "tiny"
study = "embedding"
[sweep]
networks = ["fully-connected", "convolutional", "densenet"]
depths = [1, 2]
width_factors = [2, 3]
learning_rates = [0.2]
seeds = 1
[data]
side = 4
samples = 8
[train]
steps = 60
batch_size = 3
late_steps = 20
"""

pytestmark = pytest.mark.usefixtures("one_thread")

CURVES = {"deviations", "deviations_sgd"}
LATE = {
    *("kkt_difference", "kkt_residual", "kkt_residual_wide", "stationarity", "slackness"),
    *("deviation_late", "late_loss", "kkt_residuals"),
}


def plan_of(*overrides: str) -> Plan:
    return Plan(parse_spec(TINY, "tiny.toml", overrides))


def job_of(run: Run, should_suspend: Callable[[], bool] = lambda: False) -> Job:
    return Job(
        members=(Member(run=run, attempt=1, folder=Path("nowhere"), epochs_known=0),), should_suspend=should_suspend
    )


def measured(runner: EmbeddingRunner, run: Run) -> Measurements:
    (result,) = (event for event in runner.run(job_of(run)) if isinstance(event, Measured))
    return result.measurements


def number(result: Mapping[str, object], name: str) -> float:
    value = result[name]
    assert isinstance(value, float)
    return value


def test_every_network_agrees_with_theory(slot: Slot) -> None:
    plan = plan_of()
    runner = EmbeddingRunner(plan, slot)
    names = {quantity.name for quantity in EMBEDDING.quantities}
    separated = 0
    for run in plan.runs:
        started, result, ended = runner.run(job_of(run))
        assert isinstance(started, RunStarted)
        assert isinstance(result, Measured)
        assert isinstance(ended, RunEnded)
        assert (ended.status, ended.error) == ("ok", None)
        assert set(result.measurements) - CURVES in (names | {"kkt_residuals"}, names - LATE)
        for quantity in EMBEDDING.quantities:
            if quantity.bound is not None and quantity.name in result.measurements:
                assert 0 <= number(result.measurements, quantity.name) <= quantity.bound, run.run_id
        for curve, main in (("deviations", "deviation"), ("deviations_sgd", "deviation_sgd")):
            values = result.measurements[curve]
            assert isinstance(values, tuple)
            assert len(values) == 61
            assert values[0] == 0  # S theta_0 it is
            assert max(values) == result.measurements[main]
        separated += set(result.measurements) >= LATE
    assert separated >= 4


def test_parameters_are_those_of_the_wide_network(slot: Slot) -> None:
    changes = ("sweep.depths=[1,2,5]", "network.connectivity=window", "network.window=2", "data.side=8")
    for plan in (plan_of("sweep.depths=[1,2,5]"), plan_of(*changes), plan_of("network.connectivity=strides")):
        runner = EmbeddingRunner(plan, slot)
        for run in plan.runs:
            wiring, factor, _ = runner.spec.networks[run.point.network]
            wide = runner._splitting(runner._network(run), factor, 0).wide
            assert plan.estimate(run.point).parameters == wide.parameters
            sizes = [size for size, _ in weight_sizes(runner.spec, wiring, run.point.depth, factor)]
            assert sizes == wide.sizes


@pytest.mark.parametrize(("coefficients", "expected"), [("equal", 0.5**0.5), ("given", 0.6)])
def test_coefficients_are_the_requested_ones(slot: Slot, coefficients: str, expected: float) -> None:
    given = ["splitting.values=[0.6, 0.8]"] if coefficients == "given" else []
    plan = plan_of("sweep.width_factors=[2]", f"splitting.coefficients={coefficients}", *given)
    runner = EmbeddingRunner(plan, slot)
    splitting = runner._splitting(runner._network(plan.runs[0]), 2, 0)
    assert all(
        float(split.coefficients[0]) == pytest.approx(expected, rel=1e-15) for split in splitting.splits.values()
    )
    assert number(measured(runner, plan.runs[0]), "deviation") < 1e-12


def test_random_coefficients_differ_from_neuron_to_neuron_and_from_seed_to_seed(slot: Slot) -> None:
    plan = plan_of()
    runner = EmbeddingRunner(plan, slot)
    network = runner._network(plan.runs[0])
    coefficients = [runner._splitting(network, 3, seed).splits["x1"].coefficients for seed in (0, 1)]
    assert len(set(torch.cat(coefficients).tolist())) == 2 * 3 * 16


def test_a_result_depends_on_its_point_and_seed_alone(slot: Slot) -> None:
    brief = ("train.steps=12", "train.late_steps=4")
    plan = plan_of("sweep.networks=['densenet']", "sweep.width_factors=[2]", "sweep.seeds=2", *brief)
    runner = EmbeddingRunner(plan, slot)
    first = {run.run_id: measured(runner, run) for run in plan.runs}
    torch.manual_seed(7)
    again = {run.run_id: measured(EmbeddingRunner(plan, slot), run) for run in reversed(plan.runs)}
    assert again == first
    assert len({str(result) for result in first.values()}) == len(first)


def test_a_nan_is_not_ignored() -> None:
    assert math.isnan(largest([0.0, math.nan, 1.0]))
    assert largest([0.5, math.inf]) == math.inf


def test_samples_are_of_both_classes_in_equal_numbers(slot: Slot) -> None:
    runner = EmbeddingRunner(plan_of("data.samples=9", "data.classes=[3,8]"), slot)
    flat, images = runner._samples(5, flat=True), runner._samples(5, flat=False)
    assert flat.y.tolist() == [1.0] * 5 + [-1.0] * 4
    assert images.x.shape == (9, 1, 4, 4)
    assert torch.equal(images.x.flatten(1), flat.x)
    assert len({tuple(row.tolist()) for row in flat.x}) == 9
    assert runner.prepare().data.name == "digits 3 and 8"


def test_each_epoch_of_sgd_sees_every_sample_once(slot: Slot) -> None:
    runner = EmbeddingRunner(plan_of("data.samples=8", "train.batch_size=4", "train.steps=7"), slot)
    samples = runner._samples(0, flat=True)
    batches = runner._batches(samples, 0)
    assert [len(batch.y) for batch in batches] == [4] * 7
    for first, second in ((0, 1), (2, 3), (4, 5)):
        seen = torch.cat([batches[first].x, batches[second].x])
        assert sorted(seen.tolist()) == sorted(samples.x.tolist())


def test_a_suspended_run_has_measured_nothing(slot: Slot) -> None:
    plan = plan_of()
    calls = iter([False] * 30 + [True])
    started, paused = EmbeddingRunner(plan, slot).run(job_of(plan.runs[0], lambda: next(calls)))
    assert isinstance(started, RunStarted)
    assert isinstance(paused, RunPaused)


def test_a_wrong_map_is_detected(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = Splitting.embed

    def off(self: Splitting, theta: Tensor) -> Tensor:
        result = embed(self, theta)
        return torch.cat([1.01 * result[:1], result[1:]])

    monkeypatch.setattr(Splitting, "embed", off)
    plan = plan_of("sweep.width_factors=[2]", "sweep.depths=[2]")
    for run in plan.runs:
        result = measured(EmbeddingRunner(plan, slot), run)
        for name in ("deviation", "deviation_sgd", "gradient_start"):
            assert number(result, name) > 1e-6, (run.run_id, name)


def test_descent_that_runs_away_is_a_diverged_run(slot: Slot) -> None:
    plan = plan_of("sweep.networks=['fully-connected']", "sweep.depths=[2]", "sweep.learning_rates=[1e200]")
    *_, ended = EmbeddingRunner(plan, slot).run(job_of(plan.runs[0]))
    assert isinstance(ended, RunEnded)
    assert ended.status == "diverged"


def test_where_nothing_is_separated_there_is_no_margin_problem(slot: Slot) -> None:
    plan = plan_of("train.steps=1", "sweep.learning_rates=[1e-6]")
    result = measured(EmbeddingRunner(plan, slot), plan.runs[-1])
    assert number(result, "margin") <= 0
    assert not LATE & set(result)


def test_a_wide_network_that_separates_nothing_has_no_residual(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("sweep.networks=['fully-connected']", "sweep.depths=[1]", "sweep.width_factors=[2]")
    answers = [KKT(stationarity=0.1, slackness=0.0, multipliers=())] * 8

    def last_fails(*_: object) -> KKT | None:
        return answers.pop() if answers else None

    monkeypatch.setattr("dnlbench.runners.embedding.kkt", last_fails)
    assert math.isnan(number(measured(EmbeddingRunner(plan, slot), plan.runs[0]), "kkt_residual_wide"))


def test_indices_are_spread_from_the_first_to_the_last() -> None:
    assert spread(3, 4) == (0, 1, 2)
    assert spread(501, 4) == (0, 167, 333, 500)


# --- Specs. ---


def test_the_preset_covers_the_study() -> None:
    spec = read_spec("embedding")
    assert isinstance(spec, EmbeddingSpec)
    assert set(spec.sweep.networks) == {"fully-connected", "convolutional", "densenet"}
    assert 1 in spec.sweep.depths
    assert spec.train.steps == 500
    assert len(spec.points) * len(spec.seeds) == 72
    assert "densenet-x2-lr0.1" in spec.networks


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.width_factors=[2,0]", r"sweep\.width_factors\[1\] = 0: must be greater than or equal to 1"),
        ("sweep.width_factors=[2,2]", r"sweep\.width_factors repeats 2: list"),
        ("sweep.learning_rates=[0]", r"sweep\.learning_rates\[0\] = 0: must be greater than 0"),
        (
            "sweep.networks=['resnet']",
            r"sweep\.networks\[0\] = 'resnet': allowed: fully-connected, convolutional, densenet",
        ),
        ("network.biases=true", r"network\.biases = True: must be false: with biases"),
        (
            "network.batch_norm=true",
            r"network\.batch_norm = True: must be false: batch normalization cancels the coefficient",
        ),
        ("network.window=2", r"network\.window = 2: is required with network"),
        ("network.blocks=4", r"network\.blocks = 4: images of data\.side = 4 have room for at most 3 blocks"),
        ("train.batch_size=9", r"train\.batch_size = 9: must be at most data\.samples = 8"),
        ("splitting.coefficients=given", r"splitting\.values = None: are required with splitting"),
        (
            "splitting.values=[0.6,0.8]",
            r"splitting\.values = \[0\.6, 0\.8\]: are required with splitting\.coefficients",
        ),
        ("data.side=6", r"data\.side = 6: must be a multiple of 4"),
        ("data.classes=[1,1]", r"data\.classes repeats 1: list"),
    ],
)
def test_specs_that_cannot_be_run_are_refused(override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_of(override)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            "[0.6, 0.9]",
            r"= \[0\.6, 0\.9\]: their squares add up to 1\.17 instead of 1, .*; divided by their norm they are \[0\.5547",
        ),
        ("[-0.6, 0.8]", r"relu\(c z\) = c relu\(z\) holds for c >= 0 only"),
        ("[0, 0]", r"add up to 0 instead of 1"),
        ("[1.0]", r"= \[1\.0\]: must have as many values as the width factor 2 .*, not 1"),
    ],
)
def test_invalid_coefficients_are_refused(values: str, message: str) -> None:
    with pytest.raises(SpecError, match=r"splitting\.values.*" + message):
        plan_of("sweep.width_factors=[2]", "splitting.coefficients=given", f"splitting.values={values}")
