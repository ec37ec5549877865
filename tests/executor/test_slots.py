from __future__ import annotations

import pytest

from dnlbench.errors import DeviceError
from dnlbench.executor.process import environment_of
from dnlbench.executor.slots import choose_slots
from dnlbench.machine import Device, Slot

CPU = Device(kind="cpu", name="A CPU")
GPUS = [Device(kind="cuda", index=i, name="A GPU", uuid=f"GPU-{i}") for i in range(3)]


def names(slots: tuple[Slot, ...]) -> list[str]:
    return [slot.name for slot in slots]


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"),
    [(None, None, (4, 1)), (2, None, (2, 2)), (None, 2, (2, 2)), (3, 2, (3, 2)), (None, 8, (1, 8)), (9, None, (9, 1))],
)
def test_cores_are_divided_among_slots(jobs: int | None, threads: int | None, expected: tuple[int, int]) -> None:
    slots = choose_slots([CPU], 4, jobs=jobs, threads=threads)
    assert (len(slots), slots[0].threads) == expected
    assert len(set(names(slots))) == len(slots)
    assert {slot.shared for slot in slots} == {expected[0] * expected[1] > 4}
    assert {slot.jobs for slot in slots} == {expected[0]}


def test_one_slot_for_each_gpu() -> None:
    slots = choose_slots([*GPUS, CPU], 12)
    assert names(slots) == ["cuda:0/0", "cuda:1/0", "cuda:2/0"]
    assert [slot.threads for slot in slots] == [4, 4, 4]
    assert environment_of(slots[1])["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_more_jobs_than_gpus_share_them_and_are_marked() -> None:
    slots = choose_slots([*GPUS, CPU], 12, device="cuda:0,2", jobs=3)
    found = [(slot.name, slot.jobs, slot.shared) for slot in slots]
    assert found == [("cuda:0/0", 2, True), ("cuda:2/0", 1, False), ("cuda:0/1", 2, True)]


def test_slots_that_no_run_needs_are_not_made() -> None:
    slots = choose_slots([*GPUS, CPU], 12, jobs=9, tasks=3)
    assert names(slots) == ["cuda:0/0", "cuda:1/0", "cuda:2/0"]
    assert not any(slot.shared for slot in slots)


def test_the_cpu_by_choice_hides_the_gpus() -> None:
    (slot,) = choose_slots([*GPUS, CPU], 1, device="cpu")
    assert environment_of(slot)["CUDA_VISIBLE_DEVICES"] == ""
    assert environment_of(slot)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", r"--device cuda: this machine shows no such device. Present: cpu \(A CPU\)"),
        ("mps", "no such device"),
        ("gpu", "write auto, cpu, mps, cuda, or CUDA devices by number"),
        ("cpu:0", "write auto"),
        ("cuda:", "write auto"),
    ],
)
def test_devices_that_are_not_there(device: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        choose_slots([CPU], 2, device=device)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"no CUDA device 5. Present: cuda:0, cuda:1, cuda:2"):
        choose_slots([*GPUS, CPU], 2, device="cuda:1,5")
