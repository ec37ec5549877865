"""Sweeps on a cluster of several raylets: the bits of one machine, whatever is killed, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from dnlbench.events import RunEnded, RunLeased, RunPaused, SlotSetAside
from dnlbench.files import read_lines
from dnlbench.profiles import Profile, RunRecord, read_profile
from tests.executor.ray_clusters import RayCluster, started

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep, Sweep

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

CheckUndisturbed = Callable[[Profile], None]
NODES = ({"num_cpus": 0}, {"num_cpus": 1}, {"num_cpus": 1}, {"num_cpus": 1})
"""A head that takes no work, and three that do: four raylets, three slots."""
FREE = """
import sys
from dnlbench.executor.cluster.connecting import connected
with connected(sys.argv[1]):
    import ray
    print(ray.available_resources().get("CPU", 0.0), ray.cluster_resources()["CPU"])
"""


@pytest.fixture(scope="module")
def lasting_cluster() -> Iterator[RayCluster]:
    """For tests that break nothing."""
    with started(*NODES) as cluster:
        yield cluster


@pytest.fixture
def cluster(lasting_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    lasting_cluster.show(monkeypatch)
    return lasting_cluster


@pytest.fixture
def brittle_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """For one that does."""
    with started(*NODES) as cluster:
        cluster.show(monkeypatch)
        yield cluster


def on(cluster: RayCluster, sweep: Sweep, *options: str, jobs: int = 3) -> list[str]:
    """The sweep's command, on the cluster."""
    where = ["--executor", "ray", "--ray-address", cluster.address, "--jobs", str(jobs)]
    return [*sweep.arguments, *where, *options]


def outposts(cluster: RayCluster) -> list[psutil.Process]:
    """The longest at work first."""
    return sorted(_named(cluster, "ray::_RayOutpost"), key=psutil.Process.create_time)


def workers(cluster: RayCluster) -> list[psutil.Process]:
    return _named(cluster, "dnlbench.executor.worker")


def _named(cluster: RayCluster, name: str) -> list[psutil.Process]:
    found = []
    for process in cluster.processes():
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def gone(processes: Callable[[], list[psutil.Process]], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while processes():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def free_and_all(cluster: RayCluster, seconds: float = 20.0) -> tuple[float, float]:
    """CPUs of the cluster that nobody claims, when they no longer change, and all of them."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(
            [sys.executable, "-c", FREE, cluster.address], capture_output=True, text=True, timeout=60, check=True
        )
        free, whole = map(float, done.stdout.split())
        if free == whole or time.monotonic() > deadline:
            return free, whole


def found(run: RunRecord) -> dict[str, object]:
    """What must not depend on where a run was carried out."""
    kept = {
        "run_id",
        "status",
        "parameters",
        "peak_memory_bytes",
        "final_train_loss",
        "pack_size",
        "threads",
        "measurements",
    }
    return {**run.model_dump(include=kept), "epochs": [(e.epoch, e.train_loss, e.gradient_norm) for e in run.epochs]}


def test_a_cluster_gives_the_bits_of_one_machine(cluster: RayCluster, make_sweep: MakeSweep) -> None:
    sweep = make_sweep(run_dir=None)
    quick = ["run", "digits-quick", "--set", "sweep.seeds=1", "--set", "train.epochs=2", "--threads", "1", "--json"]
    here = sweep.call(*quick, "--jobs", "2", "--out", "here.json")
    assert here.returncode == 0, here.stderr
    there = sweep.call(*quick, "--executor", "ray", "--ray-address", cluster.address, "--out", "there.json")
    assert there.returncode == 0, there.stderr
    ours, theirs = (read_profile(sweep.folder / name) for name in ("here.json", "there.json"))
    assert len(ours.runs) == 9
    assert list(map(found, theirs.runs)) == list(map(found, ours.runs))
    assert (theirs.data, theirs.spec_hash, theirs.machine.fingerprint) == (
        ours.data,
        ours.spec_hash,
        ours.machine.fingerprint,
    )
    nodes = [run.node for run in theirs.runs]
    assert all(node is not None and node.fingerprint == ours.machine.fingerprint for node in nodes)
    assert len({node.name for node in nodes if node}) == 3, "three raylets of one host have names of their own"
    compared = sweep.call("compare", "here.json", "there.json", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    free, whole = free_and_all(cluster)
    assert free == whole == 3.0


def test_packs_go_together_there_too(make_sweep: MakeSweep) -> None:
    """On a cluster of this machine alone, which comes and goes with the sweep."""
    sweep = make_sweep(run_dir=None)
    packs = ["run", "tiny.toml", "--pack", "2", "--threads", "1", "--jobs", "1", "--device", "cpu"]
    here = sweep.call(*packs, "--out", "here.json")
    there = sweep.call(*packs, "--executor", "ray", "--out", "there.json")
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    ours, theirs = (read_profile(sweep.folder / name) for name in ("here.json", "there.json"))
    assert {run.pack_size for run in theirs.runs} == {2}
    assert list(map(found, theirs.runs)) == list(map(found, ours.runs))


def test_a_sweep_there_is_paused_steered_and_left_as_one_here(
    cluster: RayCluster, make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep(seeds=6)
    engine = sweep.start(*on(cluster, sweep, jobs=2))
    first, second = sorted(sweep.wait_until_busy().values())
    assert sweep.control("pause") == "the sweep is paused"
    sweep.wait_until(lambda view: not view.leased)
    paused = [event for event in events(sweep, first) if isinstance(event, RunPaused)]
    assert len(paused) == 1
    before = sweep.sizes()
    time.sleep(1.0)
    assert sweep.sizes() == before
    sweep.control("resume")
    sweep.wait_until_busy()
    assert "cancelled" in sweep.control("cancel", second)
    sweep.wait_until_busy()
    engine.send_signal(signal.SIGINT)
    stdout, stderr = engine.communicate(timeout=60)
    assert engine.returncode == 130, stderr
    assert "Traceback" not in stderr
    partial = sweep.profile(stdout)
    assert partial.state == "partial"
    assert gone(lambda: [*outposts(cluster), *workers(cluster)])

    done = sweep.call(*on(cluster, sweep, "--resume", jobs=2))
    assert done.returncode == 1, "one was cancelled"
    profile = sweep.profile(done.stdout)
    assert {run.run_id: run.status for run in profile.runs if run.status != "ok"} == {second: "cancelled"}
    check_undisturbed(profile.model_copy(update={"runs": tuple(run for run in profile.runs if run.status == "ok")}))
    free, whole = free_and_all(cluster)
    assert free == whole


def events(sweep: Sweep, run_id: str) -> list[object]:
    return list(sweep.run_dir.parse_events(run_id, read_lines(sweep.run_dir.events_path(run_id))))


def test_a_machine_that_joins_later_takes_part(make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    with started({"num_cpus": 0}, {"num_cpus": 1}) as cluster:
        cluster.show(monkeypatch)
        sweep = make_sweep(seeds=8)
        engine = sweep.start(*on(cluster, sweep, jobs=2))
        sweep.wait_until(lambda view: view.ended)
        assert set(sweep.under_way()) <= {"ray/0"}
        cluster.add({"num_cpus": 1})
        sweep.wait_until(lambda view: len(view.leased) == 2)
        stdout, stderr = engine.communicate(timeout=100)
        assert engine.returncode == 0, stderr
        assert len({run.node.name for run in sweep.profile(stdout).runs if run.node}) == 2


@pytest.mark.faults
def test_every_result_comes_once_whatever_is_killed(
    brittle_cluster: RayCluster, make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    cluster, sweep = brittle_cluster, make_sweep(seeds=16)
    engine = sweep.start(*on(cluster, sweep, "--checkpoint-every", "0.2"))
    sweep.wait_until(lambda view: len(view.leased) == 3 and len(view.ended) >= 1)
    killed = [workers(cluster)[0]]
    killed[0].kill()
    sweep.wait_until(lambda view: len(view.ended) >= 3)
    killed += outposts(cluster)[:1]
    killed[-1].kill()
    sweep.wait_until(lambda view: len(view.ended) >= 5)
    os.kill(cluster.raylet_pids[1], signal.SIGKILL)
    sweep.wait_until(lambda view: len(view.ended) >= 8)
    engine.kill()
    engine.communicate()
    assert gone(lambda: [*outposts(cluster), *workers(cluster)]), "what the engine had at work went with it"
    assert 8 <= len(sweep.view().ended) < 16

    done = sweep.call(*on(cluster, sweep, "--resume"))
    assert done.returncode == 0, done.stderr
    profile = sweep.profile(done.stdout)
    assert profile.state == "complete"
    check_undisturbed(profile)
    for run in profile.runs:
        assert [event.status for event in events(sweep, run.run_id) if isinstance(event, RunEnded)] == ["ok"]
    assert len([event for event in sweep.run_dir.read_journal() if isinstance(event, RunLeased)]) >= 16 + 3
    assert not [event for event in sweep.run_dir.read_journal() if isinstance(event, SlotSetAside)]
    free, whole = free_and_all(cluster)
    assert free == whole == 2.0, "the third went with its raylet"
    assert gone(lambda: [*outposts(cluster), *workers(cluster)])


def test_two_sides_do_not_take_turns_on_a_cluster(make_sweep: MakeSweep) -> None:
    said = make_sweep(run_dir=None).refusal(
        "run", "tiny.toml", "--executor", "ray", "--against-set", "network.growth_rate=4"
    )
    assert "--executor ray" in said
