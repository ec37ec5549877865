"""What becomes of outposts that come to nothing, and of claims that cannot be met."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dnlbench.errors import DataError, EngineError
from dnlbench.executor import raypool
from dnlbench.executor.cluster.connecting import connected
from dnlbench.executor.cluster.inventory import read_nodes
from dnlbench.executor.raypool import DEATHS, RayExecutor
from dnlbench.machine import Device, Slot, cpu_device
from dnlbench.plan import Plan
from dnlbench.store import Execution, RunDir
from tests.executor.ray_clusters import RayCluster, started

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

MakePlan = Callable[..., Plan]
HOW = Execution(device_kind="cpu", threads=1, pack_size=1, torch="", machine="", source="")
CPU = Slot(name="ray/0", device=cpu_device(), threads=1)


@pytest.fixture(scope="module")
def lasting_cluster() -> Iterator[RayCluster]:
    """Of one machine, which offers a GPU that it does not have."""
    with started({"num_cpus": 1, "num_gpus": 1}) as cluster:
        yield cluster


@pytest.fixture
def cluster(lasting_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    lasting_cluster.show(monkeypatch)
    with connected(lasting_cluster.address):
        yield lasting_cluster


def executor(folder: Path, plan: Plan, *slots: Slot, tell: Callable[[str], None] = lambda news: None) -> RayExecutor:
    run_dir = RunDir(folder / "run-dir")
    run_dir.begin(plan, HOW)
    return RayExecutor(run_dir, slots, checkpoint_s=30.0, plan=plan, pack_size=1, nodes=read_nodes(), tell=tell)


def free() -> dict[str, float]:
    """What nobody claims, once it is all there is."""
    import ray

    for _ in range(50):
        if ray.available_resources() == ray.cluster_resources():
            break
        time.sleep(0.1)
    return {kind: ray.available_resources().get(kind, 0.0) for kind in ("CPU", "GPU")}


def test_a_gpu_that_is_not_there_is_told_of_and_not_waited_for_for_ever(
    cluster: RayCluster, tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raypool, "REST_S", 0.01)
    slot = Slot(name="ray/0", device=Device(kind="cuda", name="made up"), threads=1)
    found = executor(tmp_path, make_plan(), slot)
    with pytest.raises(EngineError, match="was given a GPU to use, and shows none"):
        found.prepare()
    found.close()
    log = found._run_dir.slot_log_path("ray/0").read_text()
    assert log.count("was given a GPU to use") == DEATHS + 1
    assert free() == {"CPU": 1.0, "GPU": 1.0}


def test_what_is_wrong_with_the_plan_leaves_nothing_behind(
    cluster: RayCluster, tmp_path: Path, make_plan: MakePlan
) -> None:
    found = executor(tmp_path, make_plan("data.dataset=svhn", "data.root=nowhere"), CPU)
    with pytest.raises(DataError, match="nowhere"):
        found.prepare()
    found.close()
    assert free() == {"CPU": 1.0, "GPU": 1.0}
    assert not (found._run_dir.root / "cluster.secret").exists()


def test_a_full_cluster_is_waited_for_and_somebody_told(
    cluster: RayCluster, tmp_path: Path, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(raypool, "ROOM_S", 0.5)
    news: list[str] = []
    others = ray.util.placement_group([{"CPU": 1}])  # somebody else's
    ray.get(others.ready())

    def tell(words: str) -> None:
        news.append(words)
        ray.util.remove_placement_group(others)

    first, second = CPU, CPU.model_copy(update={"name": "ray/1"})
    found = executor(tmp_path, make_plan(), first, second, tell=tell)
    try:
        found.prepare()
        assert news == ["waiting for room on the cluster for a worker: 1 CPU and 1.0 GiB"]
        found.warm_up(second)
        found.wait(2.0)
        assert (found.is_open(first), found.is_open(second)) == (True, False)
        found.end(first)
        deadline = time.monotonic() + 30
        while not found.is_open(second) and time.monotonic() < deadline:
            found.wait(0.5)
        assert found.is_open(second)
    finally:
        found.close()
    assert free() == {"CPU": 1.0, "GPU": 1.0}
