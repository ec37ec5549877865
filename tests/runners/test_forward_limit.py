"""Runs of the forward-limit study. Its check of the order must detect wrong networks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from dnlbench.architecture import KernelName
from dnlbench.dnl.assumptions import AssumptionReport
from dnlbench.dnl.curves import Curves, random_curves
from dnlbench.dnl.extension import sample
from dnlbench.dnl.vector import VectorForm, states
from dnlbench.errors import SpecError
from dnlbench.events import Measured, RunEnded, RunEvent, RunPaused, RunStarted
from dnlbench.events.records import read_run_event
from dnlbench.machine import Slot, Sources, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.profiles import FitRecord, RunRecord, summarize
from dnlbench.runners import forward_limit
from dnlbench.runners.base import Job, Member
from dnlbench.runners.forward_limit import ForwardLimitRunner, InaccurateError
from dnlbench.runners.measuring import Check, Measurements, MeasuringRunner, derived_seed
from dnlbench.spec import parse_spec
from dnlbench.studies import StudySpec

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("forward-limit")]  # shared solutions are computed once

TINY = """
name = "tiny"
study = "forward-limit"
[sweep]
kernels = ["local", "attention"]
activations = ["tanh", "relu"]
depths = [4, 8, 16, 32]
seeds = 2
[reference]
steps = 32
levels = 2
"""

ALL_KERNELS = """
name = "all-kernels"
study = "forward-limit"
[sweep]
kernels = ["local", "attention", "gaussian", "rbf"]
activations = ["tanh", "relu"]
depths = [8, 16, 32, 64, 128]
seeds = 2
[reference]
steps = 128
levels = 2
"""


def plan_of(text: str, *overrides: str) -> Plan:
    return Plan(parse_spec(text, "spec.toml", overrides))


def job_of(run: Run, *, should_suspend: bool = False) -> Job:
    return Job(
        members=(Member(run=run, attempt=1, folder=Path("nowhere"), epochs_known=0),),
        should_suspend=lambda: should_suspend,
    )


def measured(events: Iterable[RunEvent]) -> Measurements:
    (result,) = (event for event in events if isinstance(event, Measured))
    return result.measurements


def results(runner: ForwardLimitRunner, runs: Iterable[Run]) -> dict[str, Measurements]:
    return {run.run_id: measured(runner.run(job_of(run))) for run in runs}


def number(result: Measurements, name: str) -> float:
    value = result[name]
    assert isinstance(value, float)
    return value


def test_a_run_begins_measures_and_ends(slot: Slot) -> None:
    plan = plan_of(TINY)
    runner = ForwardLimitRunner(plan, slot)
    quantities = {quantity.name for quantity in plan.study.quantities}
    for run in plan.runs:
        started, result, ended = runner.run(job_of(run, should_suspend=True))  # too short to be suspended
        assert isinstance(started, RunStarted)
        assert isinstance(result, Measured)
        assert isinstance(ended, RunEnded)
        assert started.run_id == result.run_id == ended.run_id == run.run_id
        assert (started.device, started.threads, started.attempt) == ("cpu", 1, 1)
        assert (ended.status, ended.error) == ("ok", None)
        assert result.seconds > 0
        errors = result.measurements["errors"]
        assert isinstance(errors, tuple)
        assert len(errors) == run.point.depth
        assert set(result.measurements) == quantities | {"errors"}
        values = {name: number(result.measurements, name) for name in quantities}
        assert all(math.isfinite(value) for value in (*values.values(), *errors))
        assert values["error_max"] == max(errors)
        assert values["error_end"] == errors[-1]
        assert 0 < values["reference_error"] < values["error_max"]
        for seen, bound in (
            ("state_seen", "state_bound_sharp"),
            ("state_bound_sharp", "state_bound"),
            ("lipschitz_seen", "lipschitz_bound"),
            ("growth_seen", "growth_bound"),
        ):
            assert values[seen] <= values[bound] * (1 + 1e-9)
        assert read_run_event(result.model_dump_json().encode()) == result


@pytest.mark.parametrize("kernel", get_args(KernelName))
def test_parameters_are_counted_as_they_are_sampled(kernel: KernelName, slot: Slot) -> None:
    plan = plan_of(TINY, f"sweep.kernels=['{kernel}']", "network.positions=3", "network.channels=2")
    runner = ForwardLimitRunner(plan, slot)
    for run in plan.runs[:4]:
        arrays = sample(random_curves(kernel, positions=3, channels=2, seed=0), run.point.depth)
        started = next(iter(runner.run(job_of(run))))
        assert isinstance(started, RunStarted)
        assert started.parameters == arrays.K.numel() + sum(values.numel() for _, values in arrays.one_index())


@pytest.fixture(scope="module")
def in_turn() -> dict[str, Measurements]:
    """Measurements of all tiny runs, in their order."""
    plan = plan_of(TINY)
    return results(ForwardLimitRunner(plan, Slot(name="cpu/0", device=cpu_device(), threads=1)), plan.runs)


def test_a_run_depends_on_its_point_and_seed_alone(slot: Slot, in_turn: dict[str, Measurements]) -> None:
    plan = plan_of(TINY)
    assert results(ForwardLimitRunner(plan, slot), reversed(plan.runs)) == in_turn
    torch.manual_seed(99)
    for depth in (4, 32):
        alone = plan_of(TINY, "sweep.kernels=['attention']", f"sweep.depths=[{depth}]", "sweep.seeds=[1]")
        assert len(alone.runs) == 2
        result = results(ForwardLimitRunner(alone, slot), alone.runs)
        assert result.items() <= in_turn.items()  # to the last bit, and under the same ids


def test_seeds_and_networks_are_separate_problems_and_depths_are_not(in_turn: dict[str, Measurements]) -> None:
    plan = plan_of(TINY)
    references = {
        (run.point.network, run.seed): {
            number(in_turn[other.run_id], "reference_error")
            for other in plan.runs
            if (other.point.network, other.seed) == (run.point.network, run.seed)
        }
        for run in plan.runs
    }
    assert [len(values) for values in references.values()] == [1] * 8
    assert len(set.union(*references.values())) == 8


def test_the_data_are_the_same_for_all_axes_and_others_for_other_settings(slot: Slot) -> None:
    def sha256(*overrides: str) -> str:
        runner = ForwardLimitRunner(plan_of(TINY, *overrides), slot)
        assert runner.prepare().data.sha256 == runner.data_info.sha256
        return runner.data_info.sha256

    axes = ("sweep.kernels=['rbf']", "sweep.activations=['prelu']", "sweep.depths=[1]", "sweep.seeds=[7, 3]")
    assert len({sha256(), *(sha256(axis) for axis in axes), sha256(*axes)}) == 1
    others = ("data.inputs=5", "network.positions=6", "network.channels=4")
    assert len({sha256(), *(sha256(other) for other in others)}) == 4


def test_the_description_of_the_data(slot: Slot) -> None:
    prepared = ForwardLimitRunner(plan_of(TINY, "data.inputs=7"), slot).prepare()
    assert prepared.data.name == "random inputs"
    assert (prepared.data.samples, prepared.data.input_shape, prepared.data.classes) == (7, (1, 5, 3), None)
    assert prepared.code == Sources()
    assert prepared.torch == str(torch.__version__)


def test_each_stream_and_each_seed_has_its_own_derived_seed() -> None:
    seeds = [derived_seed(seed, stream) for seed in range(100) for stream in ("curves", "inputs", "target")]
    assert len(set(seeds)) == 300
    assert derived_seed(3, "curves") == derived_seed(3, "curves")
    assert derived_seed(2**63 - 1, "curves") < 2**63  # as torch takes it


class Faked(MeasuringRunner[StudySpec]):
    """Returns given measurements."""

    measurements: Measurements | None = None

    def measure(self, run: Run, check: Check) -> Measurements:
        if self.measurements is None:
            check()
            raise AssertionError("the run was not suspended")
        return self.measurements


def faked(slot: Slot, measurements: Measurements | None) -> list[RunEvent]:
    plan = plan_of(TINY)
    runner = Faked(plan, slot)
    runner.measurements = measurements
    return list(runner.run(job_of(plan.runs[0], should_suspend=True)))


def test_a_suspended_run_keeps_nothing(slot: Slot) -> None:
    started, paused = faked(slot, None)
    assert isinstance(started, RunStarted)
    assert isinstance(paused, RunPaused)
    assert (paused.run_id, paused.epoch, paused.step) == (started.run_id, 0, 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_main_result_that_is_not_finite_is_divergence(slot: Slot, value: float) -> None:
    result: Measurements = {"error_max": value, "error_end": 1.0, "errors": (1.0, value)}
    _, measurement, ended = faked(slot, result)
    assert isinstance(measurement, Measured)
    assert str(read_run_event(measurement.model_dump_json().encode())) == str(measurement)  # nan is not nan
    assert isinstance(ended, RunEnded)
    assert ended.status == "diverged"
    assert ended.error is not None
    assert (ended.error.type, ended.error.message) == ("Diverged", f"error_max is {value}")


def test_a_side_result_that_is_not_finite_is_not_divergence(slot: Slot) -> None:
    ended = faked(slot, {"error_max": 1.0, "reference_error": math.nan})[-1]
    assert isinstance(ended, RunEnded)
    assert ended.status == "ok"


def test_an_inaccurate_solution_measures_nothing(slot: Slot) -> None:
    """A grid that is hardly finer than the network cannot resolve errors of a few percent."""
    plan = plan_of(
        TINY, "sweep.kernels=['local']", "reference.steps=32", "reference.levels=2", "curves.modes=12", "curves.scale=4"
    )
    with pytest.raises(InaccurateError, match=r"an error of up to .*; raise reference\.steps"):
        results(ForwardLimitRunner(plan, slot), plan.runs)


def test_a_single_grid_is_refused_since_its_error_is_unknown() -> None:
    with pytest.raises(SpecError, match=r"reference.levels = 1: must be greater than or equal to 2"):
        plan_of(TINY, "reference.levels=1")


def test_states_that_are_not_finite_are_divergence(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    def infinite(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
        return form, dataclasses.replace(curves, b=lambda t: curves.b(t) / 0)

    with_error(monkeypatch, infinite)
    plan = plan_of(TINY, "sweep.activations=['relu']")
    *_, result, ended = ForwardLimitRunner(plan, slot).run(job_of(plan.runs[0]))
    assert isinstance(result, Measured)
    assert isinstance(ended, RunEnded)
    assert not math.isfinite(number(result.measurements, "error_max"))
    assert ended.status == "diverged"


def test_a_device_without_float64_is_refused(slot: Slot) -> None:
    runner = ForwardLimitRunner(plan_of(TINY), slot)
    runner.device = torch.device("mps")
    with pytest.raises(SpecError, match="study = 'forward-limit': computes in float64, which mps devices do not have"):
        runner.prepare()


# The check of the order detects wrong networks

Change = Callable[[VectorForm, Curves, int], tuple[VectorForm, Curves]]
"""A change of a network at a depth, without the same change of its limit."""


def with_error(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Change the networks of the runner, but not their limits."""

    def changed(form: VectorForm, curves: Curves, x0: Tensor, *, depth: int) -> Tensor:
        form, curves = change(form, curves, depth)
        return states(form, curves, x0, depth=depth)

    monkeypatch.setattr(forward_limit, "states", changed)


@pytest.fixture(scope="module")
def runner() -> ForwardLimitRunner:
    """Share a runner, which caches the solutions of the integral equations. No test changes them."""
    return ForwardLimitRunner(plan_of(ALL_KERNELS), Slot(name="cpu/0", device=cpu_device(), threads=1))


@pytest.fixture
def no_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the bounds: they take most of the time, and no order depends on them."""
    report = AssumptionReport(**{field.name: 1.0 for field in dataclasses.fields(AssumptionReport)})
    monkeypatch.setattr(forward_limit, "assess", lambda *_: report)


def fits_of(
    runner: ForwardLimitRunner, kernels: Sequence[str] = get_args(KernelName), *, deepest: int = 128
) -> list[FitRecord]:
    """Return all orders in a profile of these runs, up to a depth."""
    runs = [run for run in runner.plan.runs if run.point.network.partition("-")[0] in kernels]
    runs = [run for run in runs if run.point.depth <= deepest]
    fits = summarize([record_of(run, results(runner, [run])[run.run_id]) for run in runs], runner.plan.study).fits
    networks = [f"{kernel}-{activation}" for kernel in kernels for activation in ("tanh", "relu")]
    assert [(fit.quantity, fit.network) for fit in fits] == list(
        itertools.product(("error_max", "error_end"), networks)
    )
    assert {(fit.model, fit.expected_order, fit.problem) for fit in fits} == {("power", 1.0, "")}
    assert {fit.depths for fit in fits} == {tuple(depth for depth in (8, 16, 32, 64, 128) if depth <= deepest)}
    return list(fits)


def record_of(run: Run, result: Measurements) -> RunRecord:
    return RunRecord(
        run_id=run.run_id,
        network=run.point.network,
        depth=run.point.depth,
        seed=run.seed,
        status="ok",
        device="cpu",
        pack_size=1,
        parameters=None,
        epochs=(),
        final_train_loss=None,
        samples_per_s=None,
        peak_memory_bytes=None,
        measurements=dict(result),
        attempts=(),
        error=None,
    )


def orders(fits: Iterable[FitRecord]) -> dict[tuple[str, str], float]:
    return {(fit.network, fit.quantity): fit.order for fit in fits if fit.order is not None}


def agreeing(fits: Iterable[FitRecord]) -> set[tuple[str, str]]:
    return {(fit.network, fit.quantity) for fit in fits if fit.agrees}


@pytest.mark.usefixtures("no_bounds")
def test_unmodified_networks_have_order_one(runner: ForwardLimitRunner) -> None:
    fits = fits_of(runner)
    assert agreeing(fits) == set(orders(fits)), orders(fits)
    assert all(fit.order_low is not None and fit.order_high is not None for fit in fits)


@pytest.mark.usefixtures("no_bounds")
def test_the_reference_is_far_more_accurate(runner: ForwardLimitRunner) -> None:
    for run in runner.plan.runs:
        if run.point.depth == 128:
            result = results(runner, [run])[run.run_id]
            assert number(result, "reference_error") < number(result, "error_end") / 100


def doubled_step(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """Tau = 2 / L."""
    return form, dataclasses.replace(curves, K=lambda t, s: 2 * curves.K(t, s))


def swapped_times(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """K^{l,k} = K(t_k, t_l)."""
    K = lambda t, s: curves.K(s[:, None], t.flatten()).transpose(0, 1)  # noqa: E731
    return form, dataclasses.replace(curves, K=K)


def transposed_weights(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    return form, dataclasses.replace(curves, K=lambda t, s: curves.K(t, s).mT)


def every_other_state(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """Every second earlier state is skipped."""
    return dataclasses.replace(form, sources=lambda layer: tuple(range(0, layer + 1, 2))), curves


def slow_step(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """Tau = (1 + L^-½) / L: an error that vanishes, but at half the order."""
    return form, dataclasses.replace(curves, K=lambda t, s: (1 + L**-0.5) * curves.K(t, s))


LASTING: Mapping[str, tuple[Change, float, int]] = {
    "the step is doubled": (doubled_step, 0.3, 64),
    "K at swapped times": (swapped_times, 0.3, 64),
    "K transposed": (transposed_weights, 0.3, 64),
    "every other state": (every_other_state, 0.3, 64),
    "the step comes right slowly": (slow_step, 0.8, 128),
}
"""Changes, an upper bound of the orders that they cause, and the depth at which they are visible."""


@pytest.mark.usefixtures("no_bounds")
@pytest.mark.parametrize(("change", "below", "deepest"), LASTING.values(), ids=LASTING)
def test_a_constant_error_is_detected_in_every_network(
    runner: ForwardLimitRunner, monkeypatch: pytest.MonkeyPatch, change: Change, below: float, deepest: int
) -> None:
    with_error(monkeypatch, change)
    fits = fits_of(runner, deepest=deepest)
    assert not any(fit.agrees for fit in fits), orders(fits)
    assert max(orders(fits).values()) < below


class WithoutNormaliser(VectorForm):
    """Replace ``kappa / C_i`` by ``kappa`` divided by ``n`` times its largest value in the state, which keeps it finite."""

    def transform(self, x: Tensor, V: Tensor, *QR: Tensor) -> Tensor:
        n, c = x.shape[-2:]
        match self.kernel:
            case "attention":
                Q, R = QR
                logits = (x @ Q.mT) @ (x @ R.mT).mT / math.sqrt(c)
            case "gaussian":
                logits = x @ x.mT
            case _:
                logits = -((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(dim=-1) / (2 * self.bandwidth**2)
        kappa = torch.exp(logits - logits.amax(dim=(-2, -1), keepdim=True))
        return kappa @ x @ V.mT / n


def without_normaliser(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    return WithoutNormaliser(**{field.name: getattr(form, field.name) for field in dataclasses.fields(form)}), curves


@pytest.mark.usefixtures("no_bounds")
def test_a_missing_normalizer_is_detected_in_every_kernel_that_has_one(
    runner: ForwardLimitRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_error(monkeypatch, without_normaliser)
    fits = fits_of(runner, ("attention", "gaussian", "rbf"))
    assert not any(fit.agrees for fit in fits), orders(fits)
    assert max(orders(fits).values()) < 0.3


def midpoints(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """K^{l,k} = K(t_l + tau / 2, t_k + tau / 2)."""
    return form, dataclasses.replace(curves, K=lambda t, s: curves.K(t + 0.5 / L, s + 0.5 / L))


def one_layer_later(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """A^l = A(t_{l+1}), and b likewise."""
    return form, dataclasses.replace(curves, A=lambda t: curves.A(t + 1 / L), b=lambda t: curves.b(t + 1 / L))


def shorter_step(form: VectorForm, curves: Curves, L: int) -> tuple[VectorForm, Curves]:
    """Tau = 1 / (L + 1)."""
    return form, dataclasses.replace(curves, K=lambda t, s: L / (L + 1) * curves.K(t, s))


VANISHING: Mapping[str, Change] = {
    "K at midpoints": midpoints,
    "A and b one layer later": one_layer_later,
    "the step 1 / (L + 1)": shorter_step,
}


@pytest.mark.usefixtures("no_bounds")
@pytest.mark.parametrize("change", VANISHING.values(), ids=VANISHING)
def test_an_error_of_the_order_of_the_step_changes_no_order(
    runner: ForwardLimitRunner, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    run = runner.plan.runs[0]
    unchanged = results(runner, [run])
    with_error(monkeypatch, change)
    assert results(runner, [run]) != unchanged
    fits = fits_of(runner)
    assert agreeing(fits) == set(orders(fits)), orders(fits)
