from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dnlbench.dnl.extension import distances, prolong
from dnlbench.dnl.learning import LearningProblem, Minimum, minimize
from dnlbench.dnl.parameters import Arrays
from dnlbench.errors import SpecError
from dnlbench.events import Measured, RunEnded, RunEvent, RunPaused, RunStarted
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.profiles import RunRecord, summarize
from dnlbench.profiles.fits import fit_over_depth
from dnlbench.runners.base import Job, Member
from dnlbench.runners.digits import load_digit_images
from dnlbench.runners.optimum_limit import NotMinimizedError, OptimumLimitRunner
from dnlbench.runners.vector import pose_problem
from dnlbench.spec import parse_spec
from dnlbench.studies.optimum_limit import OPTIMUM_LIMIT, OptimumLimitSpec

TINY = """
name = "tiny"
study = "optimum-limit"
[sweep]
kernels = ["local", "attention"]
depths = [4, 8, 16]
seeds = 1
[data]
samples = 8
[objective]
weight = 1e-3
[minimiser]
starts = 2
tolerance = 1e-6
"""
"""Six runs of a fraction of a second, whose minimizers use all parameters."""

Values = dict[str, float | tuple[float, ...]]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread"), pytest.mark.xdist_group("optimum-limit")]


def spec_of(*overrides: str) -> OptimumLimitSpec:
    spec = parse_spec(TINY, "tiny.toml", overrides)
    assert isinstance(spec, OptimumLimitSpec)
    return spec


def plan_of(*overrides: str) -> Plan:
    return Plan(spec_of(*overrides))


def events_of(
    runner: OptimumLimitRunner, run: Run, should_suspend: Callable[[], bool] = lambda: False
) -> list[RunEvent]:
    member = Member(run=run, attempt=1, folder=Path("unused"), epochs_known=0)
    return list(runner.run(Job(members=(member,), should_suspend=should_suspend)))


def measured(runner: OptimumLimitRunner, run: Run) -> Values:
    _, result, _ = events_of(runner, run)
    assert isinstance(result, Measured)
    return result.measurements


def all_measured(plan: Plan, slot: Slot) -> dict[str, Values]:
    """Return measurements by run id, each from a separate runner."""
    return {run.run_id: measured(OptimumLimitRunner(plan, slot), run) for run in plan.runs}


@pytest.fixture(scope="module")
def alone() -> Iterator[dict[str, Values]]:
    """Measurements of all tiny runs, each alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield all_measured(plan_of(), Slot(name="cpu/0", device=cpu_device(), threads=1))
    torch.set_num_threads(threads)


def number(result: Values, name: str) -> float:
    value = result[name]
    assert isinstance(value, float)
    return value


def curve(result: Values, name: str) -> tuple[float, ...]:
    value = result[name]
    assert isinstance(value, tuple)
    return value


def expected_names(kernel: str, depth: int) -> set[str]:
    names = {quantity.name for quantity in OPTIMUM_LIMIT.quantities}
    if kernel == "local":
        names -= {"distance_Q", "distance_R"}
    if depth == 4:
        names = {name for name in names if not name.startswith("distance")}
    return names | {"gradient_norm", "evaluations", "converged", "scratch_converged", "values", "scratch_values"}


# --- One run. ---


def test_events_of_a_run(slot: Slot) -> None:
    plan = plan_of("sweep.depths=[4, 8]")
    runner = OptimumLimitRunner(plan, slot)
    for run in plan.runs:
        started, result, ended = events_of(runner, run)
        assert isinstance(started, RunStarted)
        assert started.parameters == plan.estimate(run.point).parameters
        assert (started.device, started.threads) == ("cpu", 1)
        assert isinstance(result, Measured)
        assert result.seconds > 0
        assert set(result.measurements) == expected_names(run.point.network.removesuffix("-tanh"), run.point.depth)
        assert isinstance(ended, RunEnded)
        assert ended.status == "ok"
        assert ended.error is None
        assert {event.run_id for event in (started, result, ended)} == {run.run_id}


def test_the_number_of_parameters_is_that_of_the_arrays(slot: Slot) -> None:
    plan = plan_of()
    runner = OptimumLimitRunner(plan, slot)
    for run in plan.runs:
        arrays = runner._start(run.point.network, 0, run.point.depth, "start 0")
        held = arrays.K.numel() + sum(p.numel() for _, p in arrays.one_index())
        assert held == plan.estimate(run.point).parameters


def test_measurements_are_consistent(alone: dict[str, Values]) -> None:
    for run in plan_of().runs:
        result = alone[run.run_id]
        values, scratch = curve(result, "values"), curve(result, "scratch_values")
        assert result["optimal_value"] == values[-1] == min(values)
        assert result["scratch_value"] == scratch[-1] == min(scratch)
        assert result["iterations"] == len(values) - 1
        assert result["scratch_iterations"] == len(scratch) - 1
        assert result["converged"] == 1.0
        loss, energy = number(result, "data_loss"), number(result, "regulariser")
        assert number(result, "optimal_value") == pytest.approx(loss + 1e-3 * energy, rel=1e-12)
        assert loss > 0
        assert energy > 1  # no trivial minimiser
        if run.point.depth > 4:
            parts = [value for name, value in result.items() if name.startswith("distance_")]
            assert len(parts) == (4 if run.point.network == "local-tanh" else 6)
            assert all(isinstance(part, float) and part > 0 for part in parts)
            assert number(result, "distance_A") > 1e-2
            assert number(result, "distance_K") > 1e-3
            assert result["distance"] == sum(part for part in parts if isinstance(part, float))


def test_a_chain_starts_with_the_best_start_and_continues_from_the_prolonged_minimizer(slot: Slot) -> None:
    plan = plan_of("sweep.kernels=['local']", "minimiser.starts=3")
    runner = OptimumLimitRunner(plan, slot)
    result = {run.point.depth: measured(runner, run) for run in plan.runs}
    starts = [runner._start("local-tanh", 0, 4, f"start {i}") for i in range(3)]
    ends = [runner._minimize("local-tanh", 0, start, lambda: None) for start in starts]
    assert len({end.value for end in ends}) == 3
    best = min(ends, key=lambda end: end.value)
    assert result[4]["values"] == best.values
    arrays = best.arrays
    for depth in (8, 16):
        minimum = runner._minimize("local-tanh", 0, prolong(arrays), lambda: None)
        assert result[depth]["values"] == minimum.values
        assert minimum.values[0] >= minimum.value
        far = distances(arrays, minimum.arrays)
        assert {name: result[depth][f"distance_{name}"] for name in far} == far
        arrays = minimum.arrays


def test_the_prolonged_minimizer_is_a_better_start_than_a_random_one(alone: dict[str, Values]) -> None:
    for run in plan_of("sweep.depths=[8, 16]").runs:
        chain, scratch = (curve(alone[run.run_id], name) for name in ("values", "scratch_values"))
        assert chain[0] < 0.2 * scratch[0], run.run_id
        assert len(chain) < len(scratch), run.run_id


def test_the_seed_decides_data_and_starts(slot: Slot) -> None:
    plan = plan_of("sweep.kernels=['local']", "sweep.depths=[4]", "sweep.seeds=[3, 4]")
    first, second = all_measured(plan, slot).values()
    assert first["optimal_value"] != second["optimal_value"]
    assert not torch.equal(pose_problem(spec_of(), 3)[0], pose_problem(spec_of(), 4)[0])
    torch.manual_seed(99)
    runner = OptimumLimitRunner(plan, slot)
    assert [measured(runner, run) for run in plan.runs] == [first, second]
    starts = [runner._start("local-tanh", *which).b for which in ((3, 4, "a"), (4, 4, "a"), (3, 8, "a"), (3, 4, "b"))]
    assert len({float(start[0, 0]) for start in starts}) == 4


def test_a_result_does_not_depend_on_other_depths_nor_on_the_order_nor_on_the_runner(
    slot: Slot, alone: dict[str, Values]
) -> None:
    plan = plan_of()
    for runs in (plan.runs, plan.longest_first):
        runner = OptimumLimitRunner(plan, slot)
        assert {run.run_id: measured(runner, run) for run in runs} == alone
    for depths in ("[16]", "[32, 16]", "[4, 16]"):
        other = plan_of(f"sweep.depths={depths}", "sweep.kernels=['attention']")
        runner = OptimumLimitRunner(other, slot)
        (run,) = (run for run in other.runs if run.point.depth == 16)
        assert measured(runner, run) == alone[run.run_id]


# --- Suspended. ---


class After:
    """Return true from the n-th call on."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("calls", [1, 40, 150])
def test_a_suspended_run_has_measured_nothing_and_starts_again(slot: Slot, calls: int) -> None:
    plan = plan_of("sweep.kernels=['local']", "sweep.depths=[16]")
    (run,) = plan.runs
    runner = OptimumLimitRunner(plan, slot)
    started, paused = events_of(runner, run, After(calls))
    assert isinstance(started, RunStarted)
    assert isinstance(paused, RunPaused)
    assert (paused.epoch, paused.step) == (0, 0)
    assert measured(runner, run) == measured(OptimumLimitRunner(plan, slot), run)


def test_a_cached_chain_is_not_computed_again(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[int] = []

    def noting(problem: LearningProblem, start: Arrays, **options: Any) -> Minimum:
        depths.append(start.depth)
        return minimize(problem, start, **options)

    monkeypatch.setattr("dnlbench.runners.optimum_limit.minimize", noting)
    plan = plan_of("sweep.kernels=['local']")
    runner = OptimumLimitRunner(plan, slot)
    for run in reversed(plan.runs):
        measured(runner, run)
    assert depths == [4, 4, 8, 16, 16, 8, 4]  # down the chain with two starts, and each depth from scratch


def test_a_run_that_uses_up_its_iterations_has_no_result(slot: Slot) -> None:
    plan = plan_of("minimiser.max_iterations=3", "sweep.kernels=['local']", "sweep.depths=[8]")
    with pytest.raises(
        NotMinimizedError,
        match=r"not converged at depth 4 after minimiser\.max_iterations = 3: J_L = 0\.\d+, gradient norm",
    ):
        events_of(OptimumLimitRunner(plan, slot), plan.runs[0])


def test_a_start_that_leads_nowhere_is_not_the_best(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing_first(problem: LearningProblem, start: Arrays, **options: Any) -> Minimum:
        values.append(math.nan if not values else 1.0)
        return replace(minimize(problem, start, **options), value=values[-1])

    values: list[float] = []
    monkeypatch.setattr("dnlbench.runners.optimum_limit.minimize", failing_first)
    plan = plan_of("sweep.kernels=['local']", "sweep.depths=[4]")
    assert measured(OptimumLimitRunner(plan, slot), plan.runs[0])["optimal_value"] == 1.0


# --- Data. ---


def test_the_regression_is_that_of_the_formula() -> None:
    spec = spec_of("network.positions=3", "network.channels=2", "data.samples=5")
    x0, loss = pose_problem(spec, 7)
    assert x0.shape == (5, 3, 2)
    assert x0.dtype == torch.float64
    zeros = torch.zeros(5, 3, 2, dtype=torch.float64)
    # The loss is a quadratic function of x with minimum 0, so the targets follow from its gradient.
    x = zeros.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    targets = -gradient * 30 / 2
    assert float(loss(targets)) == pytest.approx(0, abs=1e-30)
    assert float(loss(zeros)) == pytest.approx(float(targets.square().mean()), rel=1e-12)
    assert 0 < float(targets.abs().max()) < 0.8
    again, same = pose_problem(spec, 7)
    assert torch.equal(x0, again)
    assert float(same(zeros)) == float(loss(zeros))


DIGITS = ("data.problem=digits", "data.samples=20")


def by_hand(image: Tensor, n: int, c: int) -> Tensor:
    """Average pixels to (n, c): patches row by row, and the pixels of a patch row by row."""
    rows, side = math.isqrt(n), math.isqrt(c)
    width = 8 // (rows * side)
    patches = torch.empty(n, c, dtype=torch.float64)
    for i in range(n):
        for j in range(c):
            top = (i // rows * side + j // side) * width
            left = (i % rows * side + j % side) * width
            patches[i, j] = sum(float(image[top + y, left + x]) for y in range(width) for x in range(width)) / width**2
    return patches


@pytest.mark.parametrize(("n", "c"), [(4, 4), (16, 4), (4, 16), (1, 16), (16, 1), (64, 1)])
def test_digits_are_patches_of_averaged_pixels(n: int, c: int) -> None:
    images, _ = load_digit_images()
    x0, _ = pose_problem(spec_of(*DIGITS, f"network.positions={n}", f"network.channels={c}"), 2)
    assert x0.shape == (20, n, c)
    assert x0.dtype == torch.float64
    assert float(x0.min()) >= -1
    assert float(x0.max()) <= 1
    every = torch.stack([2 * by_hand(image, n, c) - 1 for image in images])
    gaps = (x0[:, None] - every).abs().amax(dim=(2, 3))
    assert float(gaps.min(dim=1).values.max()) < 1e-12  # each is one of the digits
    if n * c == 64:
        assert len(set(gaps.argmin(dim=1).tolist())) == 20  # and another one each time


def test_the_digits_are_those_of_scikit_learn() -> None:
    images, labels = load_digit_images()
    assert images.shape == (1797, 8, 8)
    assert (float(images.min()), float(images.max())) == (0, 1)
    assert images.dtype == torch.float64
    assert labels.dtype == torch.int64
    assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_the_loss_of_digits_is_the_cross_entropy_of_logits_with_orthonormal_rows() -> None:
    spec = spec_of("data.problem=digits", "data.samples=60", "network.positions=16", "network.channels=4")
    images, labels = load_digit_images()
    x0, loss = pose_problem(spec, 2)
    every = torch.stack([2 * by_hand(image, 16, 4) - 1 for image in images])
    label = labels[(x0[:, None] - every).abs().amax(dim=(2, 3)).argmin(dim=1)]
    # At x = 0 all probabilities are 1/10, so the gradient is (mean of W's rows − row of the label) / M. It determines the rows
    # up to a common term, which does not affect the cross-entropy.
    zeros = torch.zeros(60, 16, 4, dtype=torch.float64, requires_grad=True)
    assert loss(zeros).item() == pytest.approx(math.log(10), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss(zeros), zeros)
    rows = torch.stack([-60 * gradient.flatten(1)[label == digit][0] for digit in range(10)])
    eye = torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(rows @ rows.mT, 16 * (eye - 0.1), rtol=0, atol=1e-10)
    states = torch.randn(60, 64, dtype=torch.float64)
    logits = states @ rows.mT
    entropy = logits.exp().sum(dim=1).log() - logits[torch.arange(60), label]
    assert float(loss(states.view(60, 16, 4))) == pytest.approx(float(entropy.mean()), rel=1e-10)


def test_digits_are_learned(slot: Slot) -> None:
    changes = ("network.positions=4", "network.channels=4", "sweep.kernels=['local']", "sweep.depths=[4]")
    plan = plan_of(*DIGITS, *changes, "objective.weight=3e-2", "minimiser.starts=1", "minimiser.tolerance=1e-4")
    runner = OptimumLimitRunner(plan, slot)
    assert runner.prepare().data.input_shape == (1, 4, 4)
    result = measured(runner, plan.runs[0])
    assert result["converged"] == 1.0
    assert number(result, "data_loss") < 0.6 * math.log(10)


def test_the_data_have_a_hash(slot: Slot) -> None:
    def data(*overrides: str) -> object:
        return OptimumLimitRunner(plan_of(*overrides), slot).prepare().data

    info = OptimumLimitRunner(plan_of(), slot).prepare().data
    assert (info.name, info.samples, info.input_shape, info.classes) == ("regression", 8, (1, 2, 2), None)
    assert data() == data("sweep.seeds=[5]") == data("objective.weight=1.0") == info
    assert data("data.samples=9") != info


# --- Inconsistent specs. ---


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sweep.depths=[4, 12]"], r"12 is not a power of two times minimiser\.first_depth = 4"),
        (["sweep.depths=[2]"], "2 is not a power of two times minimiser.first_depth = 4"),
        (["minimiser.first_depth=8"], "4 is not a power of two times minimiser.first_depth = 8"),
        (
            ["minimiser.first_depth=3", "sweep.depths=[3, 6, 9]"],
            "9 is not a power of two times minimiser.first_depth = 3",
        ),
        ([*DIGITS], r"positions = 2: does not fit digits with network\.channels = 2:"),
        (
            [*DIGITS, "network.positions=4", "network.channels=3"],
            r"positions = 4: does not fit digits with network\.channels = 3:",
        ),
        (
            [*DIGITS, "network.positions=9", "network.channels=4"],
            r"positions = 9: does not fit digits with network\.channels = 4:",
        ),
        (
            [*DIGITS, "network.positions=16", "network.channels=16"],
            r"positions = 16: does not fit digits with network\.channels = 16:",
        ),
        (
            [*DIGITS, "network.positions=4", "network.channels=1"],
            r"positions = 4: does not fit digits with network\.channels = 1:",
        ),
        (
            [*DIGITS, "network.positions=1", "network.channels=1"],
            r"positions = 1: does not fit digits with network\.channels = 1:",
        ),
        ([*DIGITS, "data.samples=1798"], "must be at most 1797, the number of digits"),
        (["objective.weight=0"], r"(?s)objective\.weight.*greater than 0"),
        (["objective.weight=-1e-3"], r"(?s)objective\.weight.*greater than 0"),
        (["minimiser.tolerance=1"], r"minimiser\.tolerance"),
        (["minimiser.starts=0"], r"minimiser\.starts"),
        (["sweep.kernels=['local', 'local']"], "'local': list each value once"),
    ],
)
def test_inconsistent_specs_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(*overrides)


def test_a_chain_may_begin_anywhere() -> None:
    assert spec_of("minimiser.first_depth=3", "sweep.depths=[24, 3]").sweep.depths == (24, 3)
    assert spec_of("minimiser.first_depth=1").minimiser.first_depth == 1


# --- Results of the study. ---


@pytest.fixture(scope="module")
def converging() -> Iterator[list[RunRecord]]:
    """Run a small version of the preset ``optimum-limit``."""
    threads = torch.get_num_threads()
    changes = ("sweep.kernels=['local']", "sweep.depths=[4, 8, 16, 32]", "sweep.seeds=2", "data.samples=64")
    plan = plan_of(*changes, "minimiser.tolerance=1e-9", "minimiser.starts=4")
    runner = OptimumLimitRunner(plan, Slot(name="cpu/0", device=cpu_device(), threads=1))
    yield [_record(run, measured(runner, run)) for run in plan.runs]
    torch.set_num_threads(threads)


def _record(run: Run, result: Values) -> RunRecord:
    nothing = dict.fromkeys(("device", "pack_size", "parameters", "final_train_loss", "samples_per_s"))
    return RunRecord.model_validate(
        {
            **nothing,
            "run_id": run.run_id,
            "network": run.point.network,
            "depth": run.point.depth,
            "seed": run.seed,
            "status": "ok",
            "epochs": [],
            "peak_memory_bytes": None,
            "measurements": result,
            "attempts": [],
            "error": None,
        }
    )


def test_differences_of_optimal_values_halve_as_depth_doubles(converging: list[RunRecord]) -> None:
    means = [number(_mean(converging, depth), "optimal_value") for depth in (4, 8, 16, 32)]
    differences = [before - after for before, after in pairwise(means)]
    assert all(difference > 0 for difference in differences)
    factors = [before / after for before, after in pairwise(differences)]
    assert all(1.6 <= factor <= 2.6 for factor in factors)


def _mean(runs: list[RunRecord], depth: int) -> Values:
    result = [run.measurements for run in runs if run.depth == depth]
    assert len(result) == 2
    return {name: sum(number(each, name) for each in result) / 2 for name in result[0] if not name.endswith("values")}


def test_extended_minimizers_come_closer_as_depth_grows(converging: list[RunRecord]) -> None:
    by_depth = [_mean(converging, depth) for depth in (8, 16, 32)]
    for name in ("distance", "distance_A", "distance_b", "distance_V", "distance_K"):
        values = [number(result, name) for result in by_depth]
        assert all(after < 0.75 * before for before, after in pairwise(values)), name
    energies = [number(_mean(converging, depth), "regulariser") for depth in (8, 16, 32)]
    assert energies[2] == pytest.approx(energies[1], rel=0.05)


def test_the_chain_takes_fewer_iterations_than_starting_from_scratch(converging: list[RunRecord]) -> None:
    for depth in (8, 16, 32):
        result = _mean(converging, depth)
        assert number(result, "iterations") < number(result, "scratch_iterations")


def test_the_summary_has_the_limit(converging: list[RunRecord]) -> None:
    (fit,) = summarize(converging, OPTIMUM_LIMIT).fits
    assert fit == fit_over_depth(converging, OPTIMUM_LIMIT.fits[0], OPTIMUM_LIMIT)
    assert (fit.model, fit.quantity, fit.network) == ("curve-limit", "optimal_value", "local-tanh")
    assert fit.problem == ""
    assert fit.depths == (4, 8, 16, 32)
    assert fit.order is not None
    assert 0.6 <= fit.order <= 1.4
    last = number(_mean(converging, 32), "optimal_value")
    gain = number(_mean(converging, 16), "optimal_value") - last
    assert fit.limit is not None
    assert last - 2 * gain < fit.limit < last
    assert fit.next_value is not None
    assert fit.limit < fit.next_value < last
    assert len(fit.shrinking) == 2
    assert all(1.6 <= factor <= 2.6 for factor in fit.shrinking)
    (start,) = [point for point in summarize(converging, OPTIMUM_LIMIT).points if point.depth == 4]
    assert "optimal_value" in start.quantities
    assert "distance" not in start.quantities
