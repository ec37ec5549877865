"""How runs are placed and packed: measured by `tune` alone, stored, and used where nothing else decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dnlbench.cache import CacheFile
from dnlbench.engine import executors
from dnlbench.engine import placement as placement_module
from dnlbench.engine import tuning as measuring
from dnlbench.engine.placement import choose_placement, execution_of, find_run_dir
from dnlbench.engine.request import RunRequest
from dnlbench.engine.tuning import tune
from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.executor import probe, tuning
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.tuning import candidates, median_point, tuning_file
from dnlbench.machine import Device, Machine, Slot
from dnlbench.plan import Plan
from dnlbench.runners.training.probe import measure as measure_here
from dnlbench.spec import read_spec
from dnlbench.store import RunDir
from dnlbench.studies import Point
from dnlbench.studies.training.spec import DataSettings
from tests.conftest import request_for

MakePlan = Callable[..., Plan]
CORES = 4
CPU = Device(kind="cpu", name="A CPU", memory_bytes=2**34)
GPUS = tuple(Device(kind="cuda", index=i, name="A GPU", uuid=f"GPU-{i}", memory_bytes=2**34) for i in range(2))
SMALL_BATCH = 32
BY_DEFAULT = (4, 1, 1)


def machine_with(*devices: Device, cores: int = CORES) -> Machine:
    return Machine(
        os="Linux",
        cpu="A CPU",
        cores=cores,
        memory_bytes=2**34,
        python="3.12",
        torch="2.11",
        devices=devices,
        fingerprint="0123456789abcdef",
    )


def be_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (placement_module, executors, measuring):
        monkeypatch.setattr(module, "read_machine", lambda: machine)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four cores, in a folder without sweeps."""
    monkeypatch.chdir(tmp_path)
    be_on(machine_with(CPU), monkeypatch)


class Speeds:
    """Made-up measurements: samples per second by pack size, for one-thread slots and for one slot on all cores."""

    def __init__(self, narrow: Mapping[int, float], wide: Mapping[int, float]) -> None:
        self._narrow, self._wide = narrow, wide
        self.asked: list[tuple[int, int, tuple[int, ...]]] = []

    def __call__(
        self, plan: Plan, point: Point, slots: Sequence[Slot], pack_sizes: Sequence[int]
    ) -> Mapping[int, float]:
        self.asked.append((len(slots), slots[0].threads, tuple(pack_sizes)))
        rates = self._narrow if slots[0].threads == 1 or slots[0].device.kind != "cpu" else self._wide
        if not rates:
            raise EngineError("no speed")
        return {size: rates[size] for size in pack_sizes if size in rates}


def evenly(rate: float) -> dict[int, float]:
    return dict.fromkeys((1, 2, 3, 4, 5, 8), rate)


WIDE_IS_FASTER = Speeds(evenly(400), evenly(500))
NARROW_IS_FASTER = Speeds(evenly(500), evenly(400))


def way_of(request: RunRequest) -> tuple[int, int, int]:
    """Runs or packs at a time, threads of each and pack size that a sweep gets."""
    placement = choose_placement(request)
    return len(placement.slots), placement.slots[0].threads, placement.pack_size


def begin(request: RunRequest) -> Path:
    folder = find_run_dir(request)
    RunDir(folder).begin(request.plan, execution_of(choose_placement(request)))
    return folder


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (evenly(500), evenly(400), (4, 1, 1)),
        (evenly(400), evenly(500), (1, 4, 1)),
        (evenly(480), evenly(500), (4, 1, 1)),  # as good, within 5 %
        ({1: 100, 2: 200}, evenly(150), (4, 1, 2)),
        ({1: 100, 2: 104}, evenly(50), (4, 1, 1)),
        ({1: 100, 2: 110}, {1: 100, 2: 180, 4: 300, 8: 310}, (1, 4, 4)),
        ({1: 100}, {1: 200}, (1, 4, 1)),  # larger packs failed
        ({}, {1: 200}, (1, 4, 1)),  # a placement failed
    ],
)
def test_the_fastest_way_is_taken_and_of_equal_ones_the_simplest(
    make_plan: MakePlan, narrow: dict[int, float], wide: dict[int, float], expected: tuple[int, int, int]
) -> None:
    speeds = Speeds(narrow, wide)
    request = request_for(make_plan("sweep.seeds=8"))
    trials = tune(request, speeds)
    assert way_of(request) == expected
    assert speeds.asked == [(4, 1, (1, 2, 4, 8)), (1, 4, (1, 2, 4, 8))]
    sizes = (1, 2, 4, 8)
    assert [t.samples_per_s for t in trials] == [r[size] for r in (narrow, wide) for size in sizes if size in r]


def test_packs_leave_no_slot_idle(make_plan: MakePlan) -> None:
    speeds = Speeds(evenly(1), evenly(1))
    tune(request_for(make_plan("sweep.seeds=5", "sweep.depths=[1]")), speeds)  # two points
    assert speeds.asked == [(4, 1, (1, 2, 4)), (1, 4, (1, 2, 4, 5))], "5 at once would be two packs"


def test_packs_that_would_not_fit_in_memory_are_not_tried(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.seeds=8")
    need = max(plan.estimate(point).memory_bytes or 0 for point in plan.spec.points)
    small = CPU.model_copy(update={"memory_bytes": int(4 * 2.5 * need / tuning.MEMORY_FRACTION)})
    placements = [choose_slots([small], CORES), choose_slots([small], CORES, jobs=1)]
    assert list(candidates(plan, placements, None).values()) == [(1, 2), (1, 2, 4, 8)]
    tiny = CPU.model_copy(update={"memory_bytes": need})
    with pytest.raises(ConfigurationError, match="nothing to tune"):
        candidates(plan, [choose_slots([tiny], CORES)], None)


def test_the_point_of_median_work_is_tried(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[8,1,4]", "sweep.seeds=4")
    assert median_point(plan) == Point(network="densenet", depth=4)


def test_without_tuning_there_is_a_run_for_each_core_or_gpu(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(make_plan("train.epochs=100000"))
    assert way_of(request) == BY_DEFAULT
    be_on(machine_with(*GPUS, CPU), monkeypatch)
    assert way_of(request) == (2, 2, 1)


def test_a_sweep_that_grows_goes_on_as_it_was_begun_and_is_found(make_plan: MakePlan) -> None:
    request = request_for(make_plan())
    tune(request, WIDE_IS_FASTER)
    folder = begin(request)
    for more in ("sweep.depths=[1,2,64]", "sweep.seeds=5", "train.epochs=1", "sweep.seeds=1"):
        grown = request_for(make_plan(more))
        assert find_run_dir(grown) == folder
        assert way_of(grown) == (1, 4, 1)


@pytest.mark.parametrize("before", [None, WIDE_IS_FASTER, NARROW_IS_FASTER])
def test_a_started_sweep_keeps_its_placement_when_it_is_tuned(make_plan: MakePlan, before: Speeds | None) -> None:
    request = request_for(make_plan())
    if before is not None:
        tune(request, before)
    way, folder = way_of(request), begin(request)
    tune(request, NARROW_IS_FASTER if before is WIDE_IS_FASTER else WIDE_IS_FASTER)
    assert (way_of(request), find_run_dir(request)) == (way, folder)
    assert way_of(replace(request, run_dir=Path("another"))) == ((4, 1, 1) if before is WIDE_IS_FASTER else (1, 4, 1))


def test_trials_are_shared_by_sweeps_of_the_same_speed(make_plan: MakePlan) -> None:
    tune(request_for(make_plan()), WIDE_IS_FASTER)
    for change, known in (("train.lr=0.5", True), ("train.batch_size=16", False), ("network.growth_rate=4", False)):
        assert way_of(request_for(make_plan(change))) == ((1, 4, 1) if known else BY_DEFAULT), change


def test_an_existing_run_directory_is_used(make_plan: MakePlan) -> None:
    request = request_for(make_plan(), run_dir=Path("rd"))
    tune(request, WIDE_IS_FASTER)
    begin(replace(request, jobs=1, threads=2, pack=2))
    placement = choose_placement(request)
    assert (placement.slots[0].threads, placement.pack_size) == (2, 2)


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ({"jobs": 2}, (2, 2, 1)),  # not among what was tried: by default
        ({"jobs": 4}, (4, 1, 2)),
        ({"threads": 4}, (1, 4, 2)),
        ({"pack": 1}, (4, 1, 1)),
        ({"pack": 1, "threads": 4}, (1, 4, 1)),
        ({"executor": "inline"}, (1, 4, 1)),
    ],
)
def test_what_the_user_fixes_stays(
    make_plan: MakePlan, fixed: dict[str, object], expected: tuple[int, int, int]
) -> None:
    request = request_for(make_plan())
    tune(request, Speeds({1: 100, 2: 200}, {1: 50, 2: 300}))
    assert way_of(request) == (1, 4, 2)
    assert way_of(replace(request, **fixed)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fixed", "asked"),
    [({"pack": 2}, [(4, 1, (2,)), (1, 4, (2,))]), ({"jobs": 2}, [(2, 2, (1, 2))]), ({"threads": 2}, [(2, 2, (1, 2))])],
)
def test_only_what_is_left_open_is_measured(make_plan: MakePlan, fixed: dict[str, object], asked: object) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    tune(replace(request_for(make_plan()), **fixed), speeds)  # type: ignore[arg-type]
    assert speeds.asked == asked


def test_only_pack_sizes_are_tried_on_gpus(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    be_on(machine_with(*GPUS, CPU), monkeypatch)
    speeds = Speeds({1: 100, 2: 190, 4: 350, 8: 360}, {})
    request = request_for(make_plan("sweep.seeds=8"))
    tune(request, speeds)
    assert speeds.asked == [(2, 2, (1, 2, 4, 8))]
    assert way_of(request) == (2, 2, 4)


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (["sweep.networks=['densenet','own:factory']"], "supports only training sweeps of built-in networks"),
        (["sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=3"], "nothing to tune"),
        (None, "supports only training sweeps of built-in networks"),
    ],
)
def test_sweeps_that_cannot_be_tuned_are_refused(make_plan: MakePlan, plan: list[str] | None, problem: str) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    request = request_for(Plan(read_spec("forward-limit")) if plan is None else make_plan(*plan))
    way = way_of(request)
    with pytest.raises(ConfigurationError, match=problem):
        tune(request, speeds)
    assert speeds.asked == []
    assert way_of(request) == way


def test_where_nothing_can_be_measured_nothing_is_stored(make_plan: MakePlan) -> None:
    request = request_for(make_plan())
    with pytest.raises(EngineError, match="failed: no speed"):
        tune(request, Speeds({}, {}))
    assert not tuning_file().path.exists()
    assert way_of(request) == BY_DEFAULT


def test_what_cannot_be_stored_is_an_error(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DNLBENCH_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match="cannot store the measurement"):
        tune(request_for(make_plan()), WIDE_IS_FASTER)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"tuned": {"a": 1}}', b"[" * 100_000])
def test_an_unreadable_file_is_as_good_as_none(make_plan: MakePlan, content: bytes) -> None:
    tuning_file().path.write_bytes(content)
    request = request_for(make_plan())
    assert way_of(request) == BY_DEFAULT
    tune(request, WIDE_IS_FASTER)
    assert way_of(request) == (1, 4, 1)


def test_several_may_write_at_once_and_the_oldest_is_forgotten_first(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: CacheFile(path, "values", int, most=500).put(f"key {n}", n), range(40)))
    values = CacheFile(path, "values", int, most=40).read()
    assert values == {f"key {n}": n for n in range(40)}
    CacheFile(path, "values", int, most=40).put("new", 41)
    assert list(json.loads(path.read_text())["values"].items()) == [*list(values.items())[1:], ("new", 41)]


@pytest.mark.parametrize(
    ("settings", "samples"),
    [
        ({"dataset": "digits"}, 1500),
        ({"dataset": "cifar10", "limit": 200}, 200),
        ({"dataset": "digits", "limit": 9999}, 1500),
        ({"dataset": "synthetic", "samples": 77}, 77),
        ({"dataset": "image-folder"}, None),
    ],
)
def test_samples_are_known_without_reading_a_file(settings: dict[str, object], samples: int | None) -> None:
    assert DataSettings.model_validate(settings).known_samples == samples


def test_a_pack_size_that_fails_is_the_last_one_tried() -> None:
    asked = []

    def step_seconds(pack_size: int, steps: int) -> float:
        asked.append((pack_size, steps))
        if pack_size == 4:
            raise MemoryError
        return 0.01 * pack_size

    rates = measure_here(step_seconds, [1, 2, 4, 8], SMALL_BATCH, 0.1)
    assert rates == {1: pytest.approx(3200), 2: pytest.approx(3200)}
    assert asked == [(1, 3), (1, 10), (2, 3), (2, 5), (4, 3)]


SMALL = ("sweep.networks=['densenet']", "network.blocks=1", "train.batch_size=8")


@pytest.mark.slow
def test_a_real_measurement(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    be_on(machine_with(CPU, cores=2), monkeypatch)
    plan = make_plan(*SMALL, "sweep.seeds=1", "data.dataset='image-folder'", "data.root='nowhere'", "data.image_size=8")
    trials = tune(request_for(plan), partial(probe.measure, seconds=0.05))
    assert [(trial.jobs, trial.threads) for trial in trials] == [(2, 1), (1, 2)]
    assert all(trial.samples_per_s > 0 for trial in trials)
    assert list(tuning_file().read().values()) == [trials]


@pytest.mark.parametrize(("change", "timeout_s"), [("network.blocks=9", 60.0), ("network.blocks=1", 0.3)])
def test_a_failed_trial_reports_the_reason(make_plan: MakePlan, slot: Slot, change: str, timeout_s: float) -> None:
    """Be it that the network cannot be built on images as small as those that stand in, or that there is no time."""
    plan = make_plan("data.dataset='image-folder'", change)
    with pytest.raises(EngineError, match="ended before it had a result, or took too long"):
        probe.measure(plan, plan.spec.points[0], [slot], [1], timeout_s=timeout_s)


def test_a_trial_that_cannot_start_reports_the_reason(
    make_plan: MakePlan, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    monkeypatch.setattr(probe, "FUNCTION", "dnlbench.no_such_module:probe")
    with pytest.raises(EngineError, match="No module named"):
        probe.measure(plan, plan.spec.points[0], [slot, slot], [1])
