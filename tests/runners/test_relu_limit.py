"""Runs of the relu-limit study. Its orders and verdicts must detect wrong networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dnlbench.dnl import relu
from dnlbench.dnl.near_identity import Decay, Directions, LayerForm, draw_directions
from dnlbench.events import Measured, RunEnded, RunPaused, RunStarted
from dnlbench.events.records import read_run_event
from dnlbench.imports import import_object
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.profiles import FitRecord, RunRecord, summarize
from dnlbench.runners import create_runner, relu_limit
from dnlbench.runners.base import Job, Member
from dnlbench.runners.measuring import Measurements, derived_seed, normal
from dnlbench.runners.relu_limit import ExplicitFormError, ReluLimitRunner
from dnlbench.spec import parse_spec
from dnlbench.studies import STUDIES

pytestmark = pytest.mark.xdist_group("relu-limit")  # directions are drawn once

TINY = """
name = "tiny"
study = "relu-limit"
[sweep]
weights = ["dense", "conv"]
exponents = [0.5, 2]
depths = [4, 16]
seeds = 2
[data]
points = 12
"""

ORDERS = """
name = "orders"
study = "relu-limit"
[sweep]
weights = ["dense", "conv"]
directions = ["independent", "fixed"]
exponents = [0.5, 1.5, 2]
depths = [16, 64, 256, 1024]
seeds = 6
[data]
points = 24
"""


def plan_of(text: str, *overrides: str) -> Plan:
    return Plan(parse_spec(text, "spec.toml", overrides))


def job_of(run: Run, *, should_suspend: bool = False) -> Job:
    return Job(
        members=(Member(run=run, attempt=1, folder=Path("nowhere"), epochs_known=0),),
        should_suspend=lambda: should_suspend,
    )


def results(runner: ReluLimitRunner, runs: Iterable[Run]) -> dict[str, Measurements]:
    return {run.run_id: runner.measure(run, lambda: None) for run in runs}


def number(result: Measurements, name: str) -> float:
    value = result[name]
    assert isinstance(value, float)
    return value


def test_a_run_begins_measures_and_ends(slot: Slot) -> None:
    plan = plan_of(TINY)
    runner = create_runner(plan, slot)
    assert isinstance(runner, ReluLimitRunner)
    quantities = {quantity.name for quantity in plan.study.quantities}
    for run in plan.runs:
        started, result, ended = runner.run(job_of(run))
        assert isinstance(started, RunStarted)
        assert isinstance(result, Measured)
        assert isinstance(ended, RunEnded)
        assert (ended.status, ended.error) == ("ok", None)
        theory = {"condition", "expected_order"} if run.point.network.endswith("a2") else {"condition"}
        assert set(result.measurements) == quantities | theory | {"domains_of_layers"}
        values = [value for value in result.measurements.values() if isinstance(value, float)]
        assert all(math.isfinite(value) and value >= 0 for value in values)
        assert number(result.measurements, "explicit_error") <= 1e-12
        assert 1 <= number(result.measurements, "domains") <= 12
        grown = result.measurements["domains_of_layers"]
        assert isinstance(grown, tuple)
        assert len(grown) == {4: 3, 16: 5}[run.point.depth]
        assert list(grown) == sorted(grown)
        assert grown[-1] == number(result.measurements, "domains")  # these depths are powers of two
        assert read_run_event(result.model_dump_json().encode()) == result


def test_parameters_are_those_of_the_layers(slot: Slot) -> None:
    plan = plan_of(TINY, "network.positions=4", "network.channels=3", "network.filter=5")
    runner = ReluLimitRunner(plan, slot)
    for run in plan.runs:
        kind = runner.spec.networks[run.point.network].kind
        form = LayerForm(kind=kind, positions=4, channels=3, filter_size=5)
        started = next(iter(runner.run(job_of(run))))
        assert isinstance(started, RunStarted)
        assert started.parameters == run.point.depth * form.parameters


def test_the_measurements_are_those_of_an_explicit_loop(slot: Slot) -> None:
    plan = plan_of(TINY, "network.bias_scale=0.5", "sweep.bias_exponents=[1]")
    runner = ReluLimitRunner(plan, slot)
    for run in plan.runs:
        result = results(runner, [run])[run.run_id]
        name, L = runner.spec.networks[run.point.network], run.point.depth
        form = LayerForm(kind=name.kind, positions=3, channels=2)
        seed = derived_seed(run.seed, f"{name.kind} independent directions")
        directions = draw_directions(form, "independent", layers=2 * L, seed=seed)
        x = normal((12, 6), derived_seed(run.seed, "points"))
        states, patterns = [x], []
        for k in range(1, 2 * L + 1):
            z = x + 0.3 * k**-name.exponent * x @ directions.U[k - 1].T + 0.5 / k * directions.v[k - 1]
            x = z.clamp(min=0)
            states.append(x)
            patterns.append(z > 0)
        assert number(result, "change") == pytest.approx(float((states[2 * L] - states[L]).norm(dim=1).max()), rel=1e-9)
        assert number(result, "state_size") == pytest.approx(float(states[L].norm(dim=1).max()))
        met = {tuple(torch.cat([pattern[m] for pattern in patterns[:L]]).tolist()) for m in range(12)}
        assert number(result, "domains") == len(met)
        later = torch.stack(patterns[L:])
        assert number(result, "stable_share") == pytest.approx(float((later == later[0]).all(dim=0).double().mean()))
        assert number(result, "weight_sum") == pytest.approx(sum(0.3 * k**-name.exponent for k in range(1, L + 1)))
        assert number(result, "bias_sum") == pytest.approx(sum(0.5 / k for k in range(1, L + 1)))


def test_a_run_depends_on_its_point_and_seed_alone(slot: Slot) -> None:
    plan = plan_of(TINY)
    in_turn = results(ReluLimitRunner(plan, slot), plan.runs)
    assert results(ReluLimitRunner(plan, slot), reversed(plan.runs)) == in_turn
    torch.manual_seed(99)
    alone = plan_of(TINY, "sweep.weights=['conv']", "sweep.exponents=[2]", "sweep.depths=[16]", "sweep.seeds=[1]")
    result = results(ReluLimitRunner(alone, slot), alone.runs)
    assert len(result) == 1
    assert result.items() <= in_turn.items()


def test_the_data_are_the_same_for_all_axes_and_others_for_other_settings(slot: Slot) -> None:
    def sha256(*overrides: str) -> str:
        runner = ReluLimitRunner(plan_of(TINY, *overrides), slot)
        assert runner.prepare().data.sha256 == runner.data_info.sha256
        return runner.data_info.sha256

    axes = ("sweep.weights=['conv']", "sweep.exponents=[3]", "sweep.depths=[1]", "sweep.seeds=[7, 3]")
    assert len({sha256(), *(sha256(axis) for axis in axes), sha256(*axes)}) == 1
    assert len({sha256(), sha256("data.points=5"), sha256("network.positions=6")}) == 3
    data = ReluLimitRunner(plan_of(TINY), slot).data
    assert (data.name, data.samples, data.input_shape, data.classes) == ("random points", 12, (1, 3, 2), None)


def test_names_contain_the_axes() -> None:
    names = ["dense-a0.5", "dense-a2", "conv-a0.5", "conv-a2"]
    assert list(dict.fromkeys(point.network for point in plan_of(TINY).spec.points)) == names
    more = ("sweep.bias_exponents=[1, 2.5]", "sweep.directions=['fixed']", "sweep.weights=['conv']")
    points = plan_of(TINY, *more).spec.points
    assert list(dict.fromkeys(point.network for point in points)) == [
        "conv-fixed-a0.5-b1",
        "conv-fixed-a0.5-b2.5",
        "conv-fixed-a2-b1",
        "conv-fixed-a2-b2.5",
    ]


def test_every_study_has_a_runner() -> None:
    for study in STUDIES.values():
        assert callable(import_object(study.runner))


def test_a_suspended_run_keeps_nothing(slot: Slot) -> None:
    plan = plan_of(TINY)
    started, paused = ReluLimitRunner(plan, slot).run(job_of(plan.runs[0], should_suspend=True))
    assert isinstance(started, RunStarted)
    assert isinstance(paused, RunPaused)


def test_states_without_bound_are_divergence(slot: Slot) -> None:
    plan = plan_of(TINY, "network.gain=1e200")
    *_, result, ended = ReluLimitRunner(plan, slot).run(job_of(plan.runs[0]))
    assert isinstance(result, Measured)
    assert isinstance(ended, RunEnded)
    assert ended.status == "diverged"
    assert not math.isfinite(number(result.measurements, "change"))
    assert number(result.measurements, "condition") == 0


# Orders and verdicts detect wrong networks


@pytest.mark.parametrize("part", ["W", "b"])
def test_an_explicit_form_of_another_network_is_noticed(part: str, slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: relu.ReluNetwork, *rest: object, **options: object) -> Tensor:
        other = dataclasses.replace(network, **{part: getattr(network, part) * (1 + 1e-9)})
        return explicit_states(other, *rest, **options)  # type: ignore[arg-type]

    explicit_states = relu.explicit_states
    monkeypatch.setattr(relu, "explicit_states", wrong)
    plan = plan_of(TINY)
    with pytest.raises(ExplicitFormError, match=r"differs from the recursion by .*e-\d\d of the largest state"):
        ReluLimitRunner(plan, slot).measure(plan.runs[-1], lambda: None)


@pytest.mark.parametrize(("a", "expected"), [(0.5, 4e-1), (1, 2e-2), (1.5, 5e-4), (2, 1e-5)])
def test_the_changes_at_depth_1024_are_of_the_known_size(a: float, expected: float, slot: Slot) -> None:
    """Independent directions, width 6: values from an independent measurement, to one digit."""
    plan = plan_of(TINY, "sweep.weights=['dense']", f"sweep.exponents=[{a}]", "sweep.depths=[1024]")
    changes = [number(result, "change") for result in results(ReluLimitRunner(plan, slot), plan.runs).values()]
    assert all(expected / 3 < change < 3 * expected for change in changes), changes


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


cached_directions = cache(draw_directions)


@pytest.fixture
def only_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip activation domains and explicit forms: they take most of the time, and no order depends on them."""

    def one_domain(active: Tensor) -> relu.Domains:
        return relu.Domains(of_point=torch.zeros(active.shape[1], dtype=torch.long), count=torch.ones(len(active)))

    def by_recursion(network: relu.ReluNetwork, *rest: Tensor, **_: object) -> Tensor:
        return relu.states(network, rest[-1])[-1]

    monkeypatch.setattr(relu, "find_domains", one_domain)
    monkeypatch.setattr(relu, "explicit_states", by_recursion)
    monkeypatch.setattr(relu_limit, "draw_directions", cached_directions)


def fits_of(slot: Slot, *overrides: str) -> dict[str, FitRecord]:
    plan = plan_of(ORDERS, *overrides)
    runner = ReluLimitRunner(plan, slot)
    runs = [record_of(run, runner.measure(run, lambda: None)) for run in plan.runs]
    fits = summarize(runs, plan.study).fits
    assert {(fit.quantity, fit.model, fit.problem) for fit in fits} == {("change", "power", "")}
    return {fit.network: fit for fit in fits}


def test_deep_networks_of_all_kinds_have_their_explicit_form(slot: Slot) -> None:
    plan = plan_of(ORDERS, "sweep.depths=[1024]", "sweep.seeds=1")
    result = results(ReluLimitRunner(plan, slot), plan.runs)
    assert len(result) == 12
    assert max(number(each, "explicit_error") for each in result.values()) <= 1e-12


@pytest.mark.usefixtures("only_changes")
@pytest.mark.slow
def test_orders_and_verdicts_of_unmodified_networks(slot: Slot) -> None:
    fits = fits_of(slot)
    expected = {"a0.5": None, "a1.5": 1.0, "a2": 1.5}
    fixed = {"a0.5": None, "a1.5": 0.5, "a2": 1.0}
    for name, fit in fits.items():
        a = name.rpartition("-")[2]
        assert fit.expected_order == (fixed if "fixed" in name else expected)[a]
        assert fit.agrees == (None if a == "a0.5" else True), (name, fit.order)
        assert fit.theory == ("possible" if a == "a0.5" else "guaranteed")
        assert fit.seen == ("not seen to converge" if a == "a0.5" else "converging")
    assert len(fits) == 12


@pytest.mark.usefixtures("only_changes")
def test_networks_with_independent_directions_converge_before_the_sums_do(slot: Slot) -> None:
    """At a = 1 the sum of the norms is infinite and that of their squares is not."""
    (fit,) = fits_of(
        slot, "sweep.weights=['dense']", "sweep.directions=['independent']", "sweep.exponents=[1]"
    ).values()
    assert (fit.theory, fit.seen, fit.expected_order) == ("possible", "converging", 0.5)
    (fit,) = fits_of(slot, "sweep.weights=['dense']", "sweep.directions=['fixed']", "sweep.exponents=[1]").values()
    assert (fit.theory, fit.seen, fit.expected_order) == ("possible", "not seen to converge", None)


@pytest.mark.usefixtures("only_changes")
@pytest.mark.parametrize("axis", ["sweep.exponents=[2]", "sweep.bias_exponents=[2]"])
def test_the_slower_of_weights_and_biases_decides(axis: str, slot: Slot) -> None:
    other = {"sweep.exponents=[2]": "sweep.bias_exponents=[1.2]", "sweep.bias_exponents=[2]": "sweep.exponents=[1.2]"}
    fits = fits_of(slot, "sweep.weights=['dense']", "sweep.directions=['independent']", axis, other[axis])
    for fit in fits.values():
        assert fit.expected_order == pytest.approx(0.7)
        assert fit.agrees, fit.order
        assert fit.theory == "guaranteed"


@pytest.mark.usefixtures("only_changes")
def test_another_limit_than_the_identity_is_excluded_by_theory(slot: Slot) -> None:
    few = ("sweep.weights=['dense']", "sweep.directions=['fixed']", "sweep.exponents=[2]", "sweep.depths=[4, 8, 16]")
    for gain, seen in ((1.1, "not seen to converge"), (0.8, "converging")):  # it may still go to 0
        (fit,) = fits_of(slot, *few, f"network.gain={gain}").values()
        assert (fit.theory, fit.seen, fit.expected_order) == ("excluded", seen, None)


def half_the_exponent(decay: Decay, layers: int) -> Tensor:
    return decay.scale * torch.arange(1, layers + 1, dtype=torch.float64) ** -(decay.exponent - 0.5)


@pytest.mark.usefixtures("only_changes")
def test_weights_that_fall_more_slowly_are_detected(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decay, "norms", half_the_exponent)
    fits = fits_of(slot, "sweep.exponents=[1.5, 2]", "sweep.seeds=3")
    assert not any(fit.agrees for fit in fits.values())


@pytest.mark.usefixtures("only_changes")
def test_directions_that_are_not_independent_are_detected(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    def correlated(form: LayerForm, direction: str, *, layers: int, seed: int) -> Directions:
        return cached_directions(form, "fixed", layers=layers, seed=seed)

    monkeypatch.setattr(relu_limit, "draw_directions", correlated)
    fits = fits_of(slot, "sweep.directions=['independent']", "sweep.exponents=[1.5, 2]", "sweep.seeds=3")
    assert not any(fit.agrees for fit in fits.values())
