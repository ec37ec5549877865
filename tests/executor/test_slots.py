from __future__ import annotations

import pytest

from dnlbench.errors import DeviceError
from dnlbench.executor.processes import environment_of
from dnlbench.executor.slots import choose_slots
from dnlbench.machine import Device, Slot, UnusableDevice

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


def test_more_jobs_than_gpus_share_them() -> None:
    slots = choose_slots([*GPUS, CPU], 12, device="cuda:0,2", jobs=3)
    result = [(slot.name, slot.jobs, slot.shared) for slot in slots]
    assert result == [("cuda:0/0", 2, True), ("cuda:2/0", 1, False), ("cuda:0/1", 2, True)]


def test_many_jobs_are_dealt_in_turn() -> None:
    slots = choose_slots([*GPUS, CPU], 12, jobs=4096)
    assert names(slots[:4]) == ["cuda:0/0", "cuda:1/0", "cuda:2/0", "cuda:0/1"]
    assert [(slot.name, slot.jobs) for slot in slots[-3:]] == [
        ("cuda:1/1364", 1365),
        ("cuda:2/1364", 1365),
        ("cuda:0/1365", 1366),
    ]
    assert len(set(names(slots))) == 4096


def test_no_more_slots_than_runs() -> None:
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
        ("cuda", r"--device cuda: this machine has no such device. Available: cpu \(A CPU\)"),
        ("mps", "no such device"),
        ("gpu", "write auto, cpu, mps, cuda, or CUDA devices by number"),
        ("cpu:0", "write auto"),
        ("cuda:", "write auto"),
        ("cuda:-1", "write auto"),
    ],
)
def test_devices_that_are_not_there(device: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        choose_slots([CPU], 2, device=device)


@pytest.mark.parametrize(("devices", "wanted"), [([CPU], "cuda"), ([*GPUS, CPU], "cuda:5")])
def test_gpus_that_cannot_be_used_are_in_the_error(devices: list[Device], wanted: str) -> None:
    lost = UnusableDevice(name="GPU 5", reason="GPU is lost; restart the machine")
    with pytest.raises(DeviceError, match=r"Available: .*\. Not usable: GPU 5: GPU is lost; restart the machine$"):
        choose_slots(devices, 2, device=wanted, unusable=[lost])


def test_numbers_of_gpus_may_have_any_length() -> None:
    with pytest.raises(DeviceError, match=r"no CUDA device 9{5000}"):
        choose_slots([*GPUS, CPU], 2, device=f"cuda:0,{'9' * 5000}")


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"no CUDA device 5. Available: cuda:0, cuda:1, cuda:2"):
        choose_slots([*GPUS, CPU], 2, device="cuda:1,5")
