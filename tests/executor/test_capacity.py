"""What is said of runs that do not fit, on devices that are made up to measure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dnlbench import units
from dnlbench.errors import ConfigurationError
from dnlbench.events import DataInfo
from dnlbench.executor.capacity import WORKER_BYTES, check_memory
from dnlbench.executor.slots import choose_slots
from dnlbench.machine import Device, Slot
from dnlbench.plan import Plan
from dnlbench.studies import Point

MakePlan = Callable[..., Plan]
DATA = DataInfo(name="made-up", sha256="", samples=0, input_shape=(3, 16, 16), classes=7)
"""Without a sample, so that memory is that of runs alone."""


def need(plan: Plan, network: str, depth: int) -> int:
    """Bytes of one run."""
    result = plan.estimate(Point(network=network, depth=depth), DATA.input_shape, DATA.classes).memory_bytes
    assert result is not None
    return result


def gpu(memory: int | None, *, used: int | None = None, index: int = 0) -> Device:
    return Device(kind="cuda", index=index, name="A GPU", memory_bytes=memory, memory_used_bytes=used)


def cpu(memory: int, *, used: int = 0) -> Device:
    return Device(kind="cpu", name="A CPU", memory_bytes=memory, memory_used_bytes=used)


def checked(plan: Plan, *devices: Device, jobs: int | None = None) -> tuple[str, ...]:
    """The warnings for one slot on each device, or so many as are asked for."""
    return check_memory(plan, DATA, choose_slots(devices, 8, jobs=jobs or len(devices), tasks=len(plan.runs)))


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """The larger of the two networks, and the deeper ones, need more, and depth counts for more than the kernel."""
    axes = ("sweep.networks=['densenet','dense-attention']", "sweep.depths=[4,8,2]")
    return make_plan(*axes, "train.batch_size=256", "network.implementation=standard")


def test_runs_that_fit_give_no_warning(plan: Plan) -> None:
    largest = need(plan, "dense-attention", 8)
    assert checked(plan, gpu(largest)) == ()
    assert checked(plan, gpu(3 * largest, used=2 * largest)) == ()
    assert checked(plan, gpu(2 * largest), jobs=2) == ()
    assert checked(plan, cpu(2 * (largest + WORKER_BYTES)), jobs=2) == ()


def test_loaded_data_are_counted(plan: Plan) -> None:
    wide = DATA.model_copy(update={"input_shape": (3, 64, 64)})
    device = gpu(need(plan, "dense-attention", 8))
    slots = [Slot(name="cuda:0/0", device=device, threads=1)]
    assert check_memory(plan, DATA, slots) == ()
    assert len(check_memory(plan, wide, slots)) == 1


def test_runs_too_large_for_a_gpu_are_tried_with_a_warning(plan: Plan) -> None:
    memory = need(plan, "densenet", 4)
    (warning,) = checked(plan, gpu(memory))
    assert warning == (
        "runs of densenet L=8 and dense-attention L=4, 8 would need up to about "
        f"{units.size(need(plan, 'dense-attention', 8))} each, and cuda:0 (A GPU) has {units.size(memory)}: dnlbench "
        "tries them anyway, and the profile records them as oom; for runs that fit, choose smaller depths, "
        "a smaller train.batch_size or a smaller network.growth_rate"
    )


def test_what_cannot_fit_on_the_cpu_is_refused(plan: Plan) -> None:
    memory = need(plan, "densenet", 4)
    with pytest.raises(ConfigurationError) as refused:
        checked(plan, cpu(memory))
    assert str(refused.value) == (
        "runs of densenet L=8 and dense-attention L=4, 8 would need up to about "
        f"{units.size(need(plan, 'dense-attention', 8))} each, and the whole machine has {units.size(memory)}: the system "
        "would kill processes, not only those of the sweep. Choose smaller depths, a smaller train.batch_size or a smaller "
        "network.growth_rate"
    )


def test_a_gpu_with_shared_memory_is_treated_like_the_cpu(plan: Plan) -> None:
    memory, largest = need(plan, "densenet", 4), need(plan, "dense-attention", 8)
    with pytest.raises(ConfigurationError, match=r"the whole machine has .*: the system would kill processes"):
        checked(plan, gpu(memory).model_copy(update={"memory_shared": True}))
    workers_too = gpu(2 * largest + WORKER_BYTES).model_copy(update={"memory_shared": True})
    (warning,) = checked(plan, workers_too, jobs=2)
    assert "choose --jobs 1" in warning


def test_estimates_are_given_their_tolerance(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[8]", "sweep.seeds=[0]")
    largest = need(plan, "densenet", 8)
    (just,) = checked(plan, cpu(int(largest / 1.14)))
    assert "they may not fit; stop other programs that use it, or choose smaller depths" in just
    with pytest.raises(ConfigurationError, match="the whole machine"):
        checked(plan, cpu(int(largest / 1.16)))
    (untold,) = checked(plan, gpu(int(largest / 1.14)))
    assert f"each, and cuda:0 (A GPU) has {units.size(largest / 1.14)}: they may not fit" in untold


@pytest.mark.parametrize(("device", "label"), [(gpu, "cuda:0 (A GPU)"), (cpu, "cpu (A CPU)")])
def test_what_fits_only_once_others_have_left(plan: Plan, device: Callable[..., Device], label: str) -> None:
    largest = need(plan, "dense-attention", 8)
    (warning,) = checked(plan, device(2 * largest, used=largest + 1))
    assert warning.startswith(
        f"runs of dense-attention L=8 would need up to about {units.size(largest)} each, and {label} has "
        f"{units.size(largest)} of its {units.size(2 * largest)} free now: they may not fit; "
        "stop other programs that use it, or"
    )


def test_each_point_is_named_once_on_a_device(plan: Plan) -> None:
    """One that cannot fit at all is not one that does not fit at present."""
    too_large, tight = checked(plan, gpu(need(plan, "densenet", 8), used=need(plan, "densenet", 8) - 1))
    assert too_large.startswith("runs of dense-attention L=8 would")
    assert tight.startswith("runs of densenet L=2, 4, 8 and dense-attention L=2, 4 would")


def test_largest_concurrent_runs_on_a_gpu(plan: Plan) -> None:
    """Two seeds at each point, so the four largest runs are of two points."""
    first, second = need(plan, "dense-attention", 8), need(plan, "densenet", 8)
    (warning,) = checked(plan, gpu(2 * first), jobs=4)
    assert warning == (
        "4 runs at a time, of dense-attention L=8 and densenet L=8, would need up to about "
        f"{units.size(2 * first + 2 * second)}, and cuda:0 (A GPU) has {units.size(2 * first)}: choose --jobs 2"
    )
    (warning,) = checked(plan, gpu(2 * first + second), jobs=4)
    assert warning.endswith(": choose --jobs 3")


def test_workers_count_on_the_cpu(plan: Plan) -> None:
    largest = need(plan, "dense-attention", 8)
    assert largest < WORKER_BYTES / 2
    assert checked(plan, gpu(2 * largest), jobs=2) == ()
    (warning,) = checked(plan, cpu(2 * largest + WORKER_BYTES), jobs=2)
    assert warning.startswith("2 runs at a time, of dense-attention L=8, would need up to about ")
    assert f" {units.size(2 * (largest + WORKER_BYTES))}, and cpu (A CPU) has" in warning
    assert warning.endswith(": choose --jobs 1")


def test_jobs_that_fit_are_dealt_to_all_devices(plan: Plan) -> None:
    largest = need(plan, "dense-attention", 8)
    devices = gpu(largest), gpu(2 * largest, index=1), gpu(None, index=2)
    warnings = checked(plan, *devices, jobs=9)
    for warning, memory, label in zip(warnings, (largest, 2 * largest), ("cuda:0", "cuda:1"), strict=True):
        assert warning.endswith(f"and {label} (A GPU) has {units.size(memory)}: choose --jobs 3")
    assert checked(plan, *devices, jobs=3) == ()


def test_runs_that_never_fit_crowd_nobody(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[4,16]")
    (warning,) = checked(plan, gpu(2 * need(plan, "densenet", 4)), jobs=2)
    assert warning.startswith("runs of densenet L=16 would")
    assert "dnlbench tries them anyway" in warning


def test_one_run_at_a_time_needs_no_fewer_jobs(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[8]", "sweep.seeds=[0]")
    slots = [Slot(name=f"cpu/{n}", device=cpu(2**30), threads=1, jobs=4) for n in range(4)]
    assert check_memory(plan, DATA, slots) == ()


def test_unknown_sizes_give_a_single_warning(make_plan: MakePlan, plan: Plan) -> None:
    unknown = "the memory of own:unet cannot be estimated, so it was not checked whether its runs fit"
    assert checked(make_plan("sweep.networks=['own:unet']"), gpu(1, used=1), jobs=4) == (unknown,)
    assert checked(make_plan("sweep.networks=['own:unet']"), cpu(1, used=1), jobs=4) == (unknown,)
    assert checked(plan, gpu(None), jobs=4) == ()
    warning, last = checked(make_plan("sweep.networks=['own:unet','densenet']"), gpu(1))
    assert warning.startswith("runs of densenet L=1, 2 would")
    assert last == unknown


def test_many_depths_are_counted(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet','plain']", "sweep.depths=[32,2,4,8,16]")
    (warning,) = checked(plan, gpu(1))
    assert warning.startswith("runs of densenet L=2 to 32 (5 depths) and plain L=2 to 32 (5 depths) would need")


def with_data(size: int) -> DataInfo:
    """Data whose two splits take at least so many bytes together, less than an image more."""
    images = -(-size // (3 * 16 * 16))
    return DATA.model_copy(update={"samples": images - images // 3, "evaluation_samples": images // 3})


def test_each_worker_has_its_copy_of_the_data(plan: Plan) -> None:
    largest, data = need(plan, "dense-attention", 8), with_data(2**30)
    for device in (cpu, gpu):
        slots = choose_slots([device(2 * (largest + WORKER_BYTES + data.loaded_bytes))], 8, jobs=2)
        assert check_memory(plan, data, slots) == ()
        slots = choose_slots([device(int(1.8 * data.loaded_bytes))], 8, jobs=2)
        (warning,) = check_memory(plan, data, slots)
        workers = 2 * WORKER_BYTES if device is cpu else 0
        both = units.size(2 * (largest + data.loaded_bytes) + workers)
        assert warning.startswith(f"2 runs at a time, of dense-attention L=8, would need up to about {both}, and ")
        assert warning.endswith(": choose --jobs 1")
    with pytest.raises(ConfigurationError, match=r"would need up to about 1\.\d GiB each, and the whole machine has"):
        check_memory(plan, data, choose_slots([cpu(data.loaded_bytes // 2)], 8, jobs=1))


# Packs


def packed(plan: Plan, device: Device, size: int, jobs: int = 1) -> tuple[str, ...]:
    slots = choose_slots([device], 8, jobs=jobs, tasks=len(plan.runs))
    return check_memory(plan, DATA, slots, pack_size=size)


def test_packs_that_do_not_fit_where_their_runs_do(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[4,8]", "sweep.seeds=6")
    largest = need(plan, "densenet", 8)
    assert packed(plan, gpu(4 * largest), 4) == ()
    (warning,) = packed(plan, gpu(3 * largest), 4)
    assert warning == (
        f"packs of 4 runs of densenet L=8 would need up to about {units.size(4 * largest)} each, and cuda:0 (A GPU) has "
        f"{units.size(3 * largest)}: dnlbench tries them anyway, and their runs one at a time if that fails; choose --pack 3"
    )
    with pytest.raises(ConfigurationError, match=r"^packs of 6 runs .* would kill processes.* Choose --pack 3$"):
        packed(plan, cpu(3 * largest), 99)


def test_a_pack_has_its_data_once(make_plan: MakePlan) -> None:
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[8]", "sweep.seeds=6")
    one = need(plan, "densenet", 8)
    data = with_data(10 * one)
    slots = choose_slots([gpu(14 * one + one // 2)], 8, jobs=1)
    assert check_memory(plan, data, slots, pack_size=4) == ()
    (warning,) = check_memory(plan, data, choose_slots([gpu(12 * one + one // 2)], 8, jobs=1), pack_size=6)
    assert f" would need up to about {units.size(data.loaded_bytes + 6 * one)} each, " in warning
    assert warning.endswith("choose --pack 4")  # 14 are up to 15 % more than 12.5


def test_largest_concurrent_packs(make_plan: MakePlan) -> None:
    """Five seeds in packs of two are three packs."""
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[4,8]", "sweep.seeds=5")
    first, second = need(plan, "densenet", 8), need(plan, "densenet", 4)
    (warning,) = packed(plan, gpu(5 * first), 2, jobs=4)
    assert warning == (
        f"4 packs at a time, of densenet L=4, 8, would need up to about {units.size(6 * first + 2 * second)}, "
        f"and cuda:0 (A GPU) has {units.size(5 * first)}: choose --jobs 2"
    )
