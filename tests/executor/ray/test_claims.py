"""How much memory runs claim on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dnlbench.events import DataInfo
from dnlbench.executor import capacity
from dnlbench.executor.ray.claims import INITIAL_CLAIM_BYTES, Claims, claim_fits
from dnlbench.machine import Device, Slot
from dnlbench.plan import Plan, Run

DATA = DataInfo(name="images", sha256="", samples=1, input_shape=(3, 32, 32), classes=10)
WORKER_BYTES = capacity.WORKER_BYTES + DATA.loaded_bytes
HUGE = 2**50


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan("sweep.networks=['densenet']", "sweep.depths=[2,16]", "sweep.seeds=3")


def claims(
    plan: Plan, kind: str = "cpu", *, pack_size: int = 1, largest_bytes: int = HUGE, left: Sequence[Run] = ()
) -> Claims:
    device = Device.model_validate({"kind": kind, "name": "x"})
    slot = Slot(name="ray/0", device=device, threads=1)
    return Claims(plan, DATA, [slot] * 4, left=left or plan.runs, pack_size=pack_size, largest_bytes=largest_bytes)


def estimate(plan: Plan, depth: int) -> int:
    (point,) = (point for point in plan.spec.points if point.depth == depth)
    result = plan.estimate(point, DATA.input_shape, DATA.classes).memory_bytes
    assert result is not None
    return result


def of_depth(plan: Plan, depth: int) -> list[str]:
    return [run.run_id for run in plan.runs if run.point.depth == depth]


def test_a_pack_claims_what_its_runs_take_and_one_worker(plan: Plan) -> None:
    small, large = (of_depth(plan, depth) for depth in (2, 16))
    assert claims(plan).of(large[:1]) == estimate(plan, 16) + WORKER_BYTES
    assert claims(plan).of(small) == 3 * estimate(plan, 2) + WORKER_BYTES


def test_slots_claim_at_first_what_comes_first(plan: Plan) -> None:
    one_by_one = [claims(plan).of_slot(number) - WORKER_BYTES for number in range(6)]
    assert one_by_one == [estimate(plan, 16)] * 3 + [estimate(plan, 2)] * 3
    small = [run for run in plan.runs if run.point.depth == 2]
    assert claims(plan, left=small).of_slot(0) - WORKER_BYTES == estimate(plan, 2)
    packs = [claims(plan, pack_size=3).of_slot(number) - WORKER_BYTES for number in range(2)]
    assert packs == [3 * estimate(plan, 16), 3 * estimate(plan, 2)]


def test_nothing_claims_more_than_any_machine_has(plan: Plan) -> None:
    limited = claims(plan, largest_bytes=WORKER_BYTES + 5)
    assert limited.of(of_depth(plan, 16)) == limited.of_slot(0) == WORKER_BYTES + 5


def test_on_a_gpu_only_the_worker_and_its_data_are_in_main_memory(plan: Plan) -> None:
    assert claims(plan, "cuda").of(of_depth(plan, 16)) == claims(plan, "cuda").of_slot(0) == WORKER_BYTES


def test_a_claim_is_kept_while_it_is_enough_and_not_far_too_much() -> None:
    gib = 2**30
    assert claim_fits(10 * gib, 10 * gib)
    assert claim_fits(10 * gib, 6 * gib)
    assert claim_fits(INITIAL_CLAIM_BYTES, WORKER_BYTES)
    assert not claim_fits(10 * gib, 10 * gib + 1)
    assert not claim_fits(10 * gib, 4 * gib)
