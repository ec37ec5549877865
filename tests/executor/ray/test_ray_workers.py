"""What becomes of remote workers that come to nothing, and of claims that cannot be met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dnlbench.errors import DataError, EngineError
from dnlbench.executor.ray import executor as ray_executor
from dnlbench.executor.ray import failures
from dnlbench.executor.ray.executor import RayExecutor
from dnlbench.executor.ray.inventory import read_nodes
from dnlbench.machine import Device, Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir
from tests.cli.conftest import _wait_until as wait_until

if TYPE_CHECKING:
    from tests.executor.ray_clusters import RayCluster

pytest.importorskip("ray")
pytest_plugins = ["tests.executor.ray_clusters"]
pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray-open")]

MakePlan = Callable[..., Plan]
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
CPU = Slot(name="ray/0", device=cpu_device(), threads=1)
ALL = {"CPU": 4.0, "GPU": 64.0}
"""What the cluster has."""


def executor(
    folder: Path, plan: Plan, *slots: Slot, on_message: Callable[[str], None] = lambda updates: None
) -> RayExecutor:
    run_dir = RunDir(folder / "run-dir")
    run_dir.begin(plan, HOW)
    return RayExecutor(
        run_dir, slots, checkpoint_s=30.0, plan=plan, pack_size=1, nodes=read_nodes(), on_message=on_message
    )


def test_a_missing_gpu_is_reported_and_not_waited_for_indefinitely(
    driver: RayCluster, tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "BACKOFF_S", 0.01)
    monkeypatch.setattr(ray_executor, "MAX_DEATHS", 1)  # each is a process
    slot = Slot(name="ray/0", device=Device(kind="cuda", name="made up"), threads=1)
    result = executor(tmp_path, make_plan(), slot)
    with pytest.raises(EngineError, match="was assigned a GPU, but has no usable one"):
        result.prepare()
    result.close()
    log = result._run_dir.slot_log_path("ray/0").read_text()
    assert log.count("was assigned a GPU, but has no usable one") == 2
    assert driver.unclaimed() == ALL


def test_what_is_wrong_with_the_plan_leaves_nothing_behind(
    driver: RayCluster, tmp_path: Path, make_plan: MakePlan
) -> None:
    result = executor(tmp_path, make_plan("data.dataset=svhn", "data.root=nowhere"), CPU)
    with pytest.raises(DataError, match="nowhere"):
        result.prepare()
    result.close()
    assert driver.unclaimed() == ALL
    assert not (result._run_dir.root / "cluster.secret").exists()


def test_waiting_for_a_full_cluster_is_reported(
    driver: RayCluster, tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray_executor, "ROOM_TIMEOUT_S", 0.5)
    updates: list[str] = []
    groups = []
    for cpus in (3, 1):  # somebody else's
        groups.append(ray.util.placement_group([{"CPU": cpus}]))
        ray.get(groups[-1].ready())

    def on_message(words: str) -> None:
        updates.append(words)
        ray.util.remove_placement_group(groups.pop())

    first, second = CPU, CPU.model_copy(update={"name": "ray/1"})
    result = executor(tmp_path, make_plan(), first, second, on_message=on_message)
    try:
        result.prepare()
        assert updates == ["waiting for free resources on the cluster: 1 CPU and 1.0 GiB"]
        result.warm_up(second)
        result.wait(2.0)
        assert (result.is_open(first), result.is_open(second)) == (True, False)
        result.end(first)
        wait_until(lambda: not result.wait(0.1) and result.is_open(second))
    finally:
        result.close()
        for group in groups:
            ray.util.remove_placement_group(group)
    assert driver.unclaimed() == ALL
