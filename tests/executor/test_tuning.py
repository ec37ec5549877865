"""How runs are placed and packed is measured where it pays, once, and never stands in the way of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dnlbench.cli.progress import Silent
from dnlbench.executor import probe, tuning
from dnlbench.executor.remembered import Choice, Figure, Measured, Remembered
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.tuning import count_samples, describe, find_question, foreseen_s
from dnlbench.machine import Device, Machine, Slot
from dnlbench.plan import Plan
from dnlbench.runners.training.probe import measure as measure_here
from dnlbench.spec import read_spec
from dnlbench.store import RunDir
from dnlbench.studies import Point
from dnlbench.studies.training.spec import DataSettings
from dnlbench.sweep import Request, choose_place, find_run_dir, settle, settled_options, settling
from dnlbench.sweep import place as placing
from dnlbench.sweep.place import execution_of

MakePlan = Callable[..., Plan]
CORES = 4
CPU = Device(kind="cpu", name="A CPU", memory_bytes=2**34)
GPUS = tuple(Device(kind="cuda", index=i, name="A GPU", uuid=f"GPU-{i}", memory_bytes=2**34) for i in range(2))
LONG = ("train.epochs=100000",)
SMALL_BATCH = 32


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
    for module in (placing, settling):
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
        return {size: rates[size] for size in pack_sizes if size in rates}


class Told(Silent):
    """What the user reads."""

    def __init__(self) -> None:
        self.news: list[str] = []

    def deciding(self, news: str) -> None:
        self.news.append(news)


def way_of(request: Request) -> tuple[int | None, int | None, int | None]:
    return request.jobs, request.threads, request.pack


def evenly(rate: float) -> dict[int, float]:
    return dict.fromkeys((1, 2, 3, 4, 5, 8), rate)


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
    ],
)
def test_the_fastest_way_is_taken_and_of_equal_ones_the_simplest(
    make_plan: MakePlan, narrow: dict[int, float], wide: dict[int, float], expected: tuple[int, int, int]
) -> None:
    speeds = Speeds(narrow, wide)
    settled = settle(Request(plan=make_plan(*LONG, "sweep.seeds=8")), measure=speeds)
    assert way_of(settled) == expected
    place = choose_place(settled)
    assert (len(place.slots), place.slots[0].threads, place.pack_size) == expected
    assert speeds.asked == [(4, 1, (1, 2, 4, 8)), (1, 4, (1, 2, 4, 8))]


def test_packs_leave_no_slot_idle(make_plan: MakePlan) -> None:
    speeds = Speeds(evenly(1), evenly(1))
    plan = make_plan(*LONG, "sweep.seeds=5", "sweep.depths=[1]")  # two points
    settle(Request(plan=plan), measure=speeds)
    assert speeds.asked == [(4, 1, (1, 2, 4)), (1, 4, (1, 2, 4, 5))], "5 at once would be two packs"


def test_packs_that_would_not_fit_in_memory_are_not_tried(make_plan: MakePlan) -> None:
    plan = make_plan(*LONG, "sweep.seeds=8")
    need = max(plan.estimate(point).memory_bytes or 0 for point in plan.spec.points)
    small = CPU.model_copy(update={"memory_bytes": int(4 * 2.5 * need / tuning.MEMORY_SHARE)})
    machine = machine_with(small)
    placements = [choose_slots([small], CORES), choose_slots([small], CORES, jobs=1)]
    question = find_question(plan, machine, placements, None)
    assert question is not None
    assert list(question.ways.values()) == [(1, 2), (1, 2, 4, 8)]
    tiny = CPU.model_copy(update={"memory_bytes": need})
    assert find_question(plan, machine, [choose_slots([tiny], CORES)], None) is None


def test_the_point_of_median_work_is_tried(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[8,1,4]", "sweep.seeds=4")
    question = find_question(plan, machine_with(CPU), [choose_slots([CPU], CORES)], None)
    assert question is not None
    assert question.point == Point(network="densenet", depth=4)


def test_it_is_measured_once(make_plan: MakePlan) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    request = Request(plan=make_plan(*LONG))
    told = Told()
    first = settle(request, told, measure=speeds)
    assert len(speeds.asked) == 2
    assert len(told.news) == 2
    assert told.news[1].startswith("measured, and chosen the first: 1 at a time with 4 threads: 500 samples/s; ")
    assert "4 at a time with 1 thread each: 400 samples/s" in told.news[1]
    other = Speeds(evenly(500), evenly(400))
    again = settle(request, told, measure=other)
    assert way_of(again) == way_of(first) == (1, 4, 1)
    assert other.asked == []
    assert len(told.news) == 2


def test_a_sweep_that_grows_goes_on_as_it_was_begun_and_is_found(make_plan: MakePlan) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    begun = settle(Request(plan=make_plan(*LONG)), measure=speeds)
    folder = find_run_dir(begun)
    for more in ("sweep.depths=[1,2,64]", "sweep.seeds=5", "train.epochs=1", "sweep.seeds=1"):
        plan = make_plan(*LONG, more)
        other = Speeds(evenly(500), evenly(400))
        grown = settle(Request(plan=plan), measure=other)
        assert find_run_dir(grown) == find_run_dir(Request(plan=plan)) == folder
        assert other.asked == []


def test_a_sweep_that_was_begun_unmeasured_goes_on_so(make_plan: MakePlan) -> None:
    short = make_plan()
    folder = find_run_dir(Request(plan=short))
    place = choose_place(Request(plan=short))
    RunDir(folder).begin(short, execution_of(place))
    speeds = Speeds(evenly(400), evenly(500))
    long = settle(Request(plan=make_plan(*LONG)), measure=speeds)
    assert find_run_dir(long) == folder
    assert speeds.asked == []


def test_another_sweep_of_the_same_speed_asks_for_no_measurement(make_plan: MakePlan) -> None:
    settle(Request(plan=make_plan(*LONG)), measure=Speeds(evenly(400), evenly(500)))
    for change, known in (("train.lr=0.5", True), ("train.batch_size=16", False), ("network.growth_rate=4", False)):
        speeds = Speeds(evenly(500), evenly(400))
        settled = settle(Request(plan=make_plan(*LONG, change)), measure=speeds)
        assert (way_of(settled), len(speeds.asked)) == (((1, 4, 1), 0) if known else ((4, 1, 1), 2)), change


def test_a_preview_knows_what_was_measured_and_measures_nothing(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "measure", None)
    request = Request(plan=make_plan(*LONG))
    assert len(choose_place(request).slots) == 4
    settle(request, measure=Speeds(evenly(400), evenly(500)))
    assert len(choose_place(request).slots) == 1


def test_an_existing_run_directory_tells(make_plan: MakePlan) -> None:
    request = Request(plan=make_plan(*LONG), run_dir=Path("rd"))
    place = choose_place(replace(request, jobs=1, threads=2, pack=2))
    RunDir(Path("rd")).begin(request.plan, execution_of(place))
    speeds = Speeds(evenly(500), evenly(400))
    settled = settle(request, measure=speeds)
    assert speeds.asked == []
    found = choose_place(settled)
    assert (found.slots[0].threads, found.pack_size) == (2, 2)


@pytest.mark.parametrize(
    ("fixed", "asked", "expected"),
    [
        ({"jobs": 2, "pack": 1}, [], (2, None, 1)),
        ({"threads": 2, "pack": 2}, [], (None, 2, 2)),
        ({"pack": 2}, [(4, 1, (2,)), (1, 4, (2,))], (1, 4, 2)),
        ({"jobs": 2}, [(2, 2, (1, 2))], (2, None, 1)),
        ({"executor": "inline"}, [], (None, None, None)),
        ({"resume": True}, [], (None, None, None)),
    ],
)
def test_only_what_is_left_open_is_measured(
    make_plan: MakePlan, fixed: dict[str, object], asked: object, expected: object
) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    settled = settle(replace(Request(plan=make_plan(*LONG)), **fixed), measure=speeds)  # type: ignore[arg-type]
    assert speeds.asked == asked
    assert way_of(settled) == expected


def test_gpus_are_packed_and_not_placed(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    be_on(machine_with(*GPUS, CPU), monkeypatch)
    speeds = Speeds({1: 100, 2: 190, 4: 350, 8: 360}, {})
    plan = make_plan("train.epochs=1000000", "sweep.seeds=8")
    monkeypatch.setattr(tuning, "WORTH_S", 1.0)
    settled = settle(Request(plan=plan), measure=speeds)
    assert speeds.asked == [(2, 2, (1, 2, 4, 8))]
    assert choose_place(settled).pack_size == 4
    assert len(choose_place(settled).slots) == 2


@pytest.mark.parametrize(
    "changes",
    [
        (),  # short
        (*LONG, "sweep.networks=['densenet','own:factory']"),
        (*LONG, "sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=3"),  # fewer runs than cores
    ],
)
def test_not_worth_a_measurement(make_plan: MakePlan, changes: tuple[str, ...]) -> None:
    speeds = Speeds(evenly(400), evenly(500))
    request = Request(plan=make_plan(*changes))
    assert settle(request, measure=speeds) == request
    assert speeds.asked == []


def test_studies_that_do_not_train_are_not_measured() -> None:
    speeds = Speeds(evenly(400), evenly(500))
    request = Request(plan=Plan(read_spec("forward-limit")))
    assert settle(request, measure=speeds) == request
    assert speeds.asked == []


def test_where_nothing_can_be_measured_the_defaults_stand(make_plan: MakePlan, own_cache: Path) -> None:
    for narrow, wide in (({}, evenly(1)), (evenly(1), {}), ({}, {})):
        told = Told()
        settled = settle(Request(plan=make_plan(*LONG)), told, measure=Speeds(narrow, wide))
        assert way_of(settled) == (4, 1, 1), "fixed, so that an engine of its own does not measure again"
        assert told.news[-1] == "that could not be measured; the defaults stand"
    assert not (own_cache / "measured.json").exists()


def test_what_cannot_be_remembered_is_not_measured(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the run directory might be another one each time."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("DNLBENCH_CACHE_DIR", str(tmp_path / "file" / "below"))
    speeds = Speeds(evenly(400), evenly(500))
    request = Request(plan=make_plan(*LONG))
    assert settle(request, measure=speeds) == request
    assert speeds.asked == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"measured": {"a": 1}}', b"[" * 100_000])
def test_an_unreadable_file_is_as_good_as_none(make_plan: MakePlan, own_cache: Path, content: bytes) -> None:
    (own_cache / "measured.json").write_bytes(content)
    speeds = Speeds(evenly(400), evenly(500))
    for _ in range(2):
        assert way_of(settle(Request(plan=make_plan(*LONG)), measure=speeds)) == (1, 4, 1)
    assert len(speeds.asked) == 2


def test_several_may_write_at_once_and_the_oldest_is_forgotten_first(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Measured(choice=Choice(jobs=1, threads=1, pack_size=1))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: Remembered().put(answer, f"key {n}"), range(40)))
    assert all(Remembered().get(f"key {n}") == answer for n in range(40))
    assert json.loads((own_cache / "measured.json").read_text())["measured"].keys() == {f"key {n}" for n in range(40)}
    monkeypatch.setattr("dnlbench.executor.remembered.MOST", 40)
    oldest = next(iter(json.loads((own_cache / "measured.json").read_text())["measured"]))
    Remembered().put(answer, "new")
    assert Remembered().get(oldest) is None
    assert Remembered().get("new") == answer


def test_an_engine_of_its_own_is_told_what_was_settled(make_plan: MakePlan) -> None:
    request = Request(plan=make_plan(), jobs=2)
    assert settled_options(request, request) == []
    settled = replace(request, threads=3, pack=4)
    assert settled_options(request, settled) == ["--threads", "3", "--pack", "4"]


def test_samples_are_counted_as_far_as_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(**settings: object) -> int:
        return count_samples(DataSettings.model_validate(settings))

    assert count(dataset="digits") == 1500
    assert count(dataset="cifar10", limit=200) == 200
    assert count(dataset="digits", limit=9999) == 1500
    assert count(dataset="synthetic", samples=77) == 77
    assert count(dataset="image-folder", root=str(tmp_path)) == 0  # the sweep is refused in a moment
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(90):
            (tmp_path / "train" / name / f"{number}.png").touch()
    assert count(dataset="image-folder", root=str(tmp_path)) == 180
    assert count(dataset="image-folder", root=str(tmp_path), limit=20) == 20
    monkeypatch.setattr(tuning, "MOST_COUNTED", 50)
    assert count(dataset="image-folder", root=str(tmp_path)) == 50


def test_longer_sweeps_are_foreseen_to_take_longer(make_plan: MakePlan) -> None:
    one, four = choose_slots([CPU], 1), choose_slots([CPU], 4)
    short, long = make_plan("train.epochs=1"), make_plan("train.epochs=6")
    assert foreseen_s(long, one) == pytest.approx(6 * foreseen_s(short, one))
    assert foreseen_s(long, one) == pytest.approx(4 * foreseen_s(long, four))
    assert foreseen_s(long, choose_slots(GPUS, 4)) < foreseen_s(long, four)


def test_in_words() -> None:
    choice = Choice(jobs=1, threads=2, pack_size=4)
    figures = [
        Figure(jobs=2, threads=1, pack_size=1, samples_per_s=431.2),
        Figure(jobs=1, threads=2, pack_size=4, samples_per_s=512.4),
    ]
    assert describe(Measured(choice=choice, figures=tuple(figures))) == (
        "measured, and chosen the first: 1 pack of up to 4 runs at a time with 2 threads: 512 samples/s; "
        "2 at a time with 1 thread each: 431 samples/s"
    )


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
def test_a_real_measurement(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setattr(tuning, "WORTH_S", 0.0)
    be_on(machine_with(CPU, cores=2), monkeypatch)
    plan = make_plan(*SMALL, "sweep.seeds=1", "data.dataset='image-folder'", "data.root='nowhere'", "data.image_size=8")
    told = Told()
    settled = settle(Request(plan=plan), told, measure=partial(probe.measure, seconds=0.05))
    assert way_of(settled) in ((2, 1, 1), (1, 2, 1))
    assert told.news[-1].startswith("measured, and chosen")
    (answer, _) = json.loads((own_cache / "measured.json").read_text())["measured"].values()
    assert [(figure["jobs"], figure["threads"]) for figure in answer["figures"]] == [(2, 1), (1, 2)]
    assert all(figure["samples_per_s"] > 0 for figure in answer["figures"])


@pytest.mark.parametrize(("change", "limit_s"), [("network.blocks=9", 60.0), ("network.blocks=1", 0.3)])
def test_a_trial_that_fails_is_no_measurement(make_plan: MakePlan, slot: Slot, change: str, limit_s: float) -> None:
    """Be it that the network cannot be built on images as small as those that stand in, or that there is no time."""
    plan = make_plan("data.dataset='image-folder'", change)
    assert probe.measure(plan, plan.spec.points[0], [slot], [1], limit_s=limit_s) == {}


def test_a_trial_that_cannot_be_started_is_no_measurement(
    make_plan: MakePlan, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan()
    monkeypatch.setattr(probe, "MODULE", "dnlbench.no_such_module")
    assert probe.measure(plan, plan.spec.points[0], [slot, slot], [1]) == {}
