"""Sweeps on a cluster of several raylets: the bits of one machine, whatever is killed, and nothing left of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import psutil
import pytest

from dnlbench.events import JournalEvent, RunEnded, RunLeased, RunPaused, RunReturned, SlotDisabled
from dnlbench.executor.ray.connecting import connected
from dnlbench.files import read_lines
from dnlbench.profiles import Profile, RunRecord, read_profile
from tests.cli.conftest import PATIENCE_S
from tests.conftest import call

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep, Sweep
    from tests.executor.ray_clusters import RayCluster, Start

pytest.importorskip("ray")
pytest_plugins = ["tests.executor.ray_clusters"]
pytestmark = pytest.mark.ray

CheckUndisturbed = Callable[[Profile], None]
E = TypeVar("E", bound=JournalEvent)


@pytest.fixture
def cluster(guarded: RayCluster, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    """Three slots, for tests that break nothing."""
    guarded.show(monkeypatch)
    return guarded


@pytest.fixture
def brittle_cluster(start_cluster: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayCluster]:
    """A cluster with a head that runs no workers, and three machines that do. Everything stops with the fixture."""
    with contextlib.suppress(ZeroDivisionError), start_cluster({"num_cpus": 0}, *[{"num_cpus": 1}] * 3) as cluster:
        assert len(cluster.processes()) >= 8
        cluster.show(monkeypatch)
        yield cluster
        raise ZeroDivisionError
    assert cluster.processes() == []
    assert not cluster.folder.exists()


def on(cluster: RayCluster, sweep: Sweep, *options: str, jobs: int = 3) -> list[str]:
    """The sweep's command, on the cluster."""
    where = ["--executor", "ray", "--ray-address", cluster.address, "--jobs", str(jobs)]
    return [*sweep.arguments, *where, *options]


def remote_workers(cluster: RayCluster) -> list[psutil.Process]:
    """The longest at work first."""
    return sorted(_named(cluster, "ray::RayRemoteWorker"), key=psutil.Process.create_time)


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


def wait_until_left(cluster: RayCluster, sweep: Sweep) -> None:
    """By all that an engine had at work there."""
    sweep.wait_until(lambda view: not remote_workers(cluster) and not workers(cluster))


def unclaimed_cpus(cluster: RayCluster) -> float:
    """All of its CPUs, once nobody claims any."""
    with connected(cluster.address):
        return cluster.unclaimed()["CPU"]


def found(run: RunRecord) -> dict[str, object]:
    """Return the fields of a run that must not depend on the machine."""
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
    return {
        **run.model_dump(include=kept),
        "epochs": [(e.epoch, e.train_loss, e.value("gradient_norm_max")) for e in run.epochs],
    }


@pytest.mark.xdist_group("ray-guarded")
def test_a_cluster_gives_the_bits_of_one_machine(cluster: RayCluster, make_sweep: MakeSweep) -> None:
    sweep = make_sweep()
    networks = ["densenet", "dense-attention", "dense-gaussian", "own:gated"]  # those that wait take a slot each
    quick = ["run", "digits-quick", "--set", "sweep.seeds=1", "--set", "train.epochs=2", "--threads", "1", "--json"]
    quick += ["--set", f"sweep.networks={networks}", "--set", "data.limit=300"]
    sweep.gate.open()
    here = call(sweep.folder, *quick, "--jobs", "2", "--out", "here.json")
    assert here.returncode == 0, here.stderr
    sweep.gate.close()
    remote = ["--executor", "ray", "--ray-address", cluster.address, "--run-dir", "rd", "--out", "there.json"]
    there = sweep.start(*quick, *remote)
    sweep.wait_until(lambda view: len({lease.slot for lease in journal(sweep, RunLeased)}) == 3)
    sweep.gate.open()
    _, stderr = there.communicate(timeout=PATIENCE_S)
    assert there.returncode == 0, stderr
    ours, theirs = (read_profile(sweep.folder / name) for name in ("here.json", "there.json"))
    assert len(ours.runs) == 12
    assert list(map(found, theirs.runs)) == list(map(found, ours.runs))
    assert (theirs.data, theirs.spec_hash, theirs.machine.fingerprint) == (
        ours.data,
        ours.spec_hash,
        ours.machine.fingerprint,
    )
    nodes = [run.node for run in theirs.runs]
    assert all(node is not None and node.fingerprint == ours.machine.fingerprint for node in nodes)
    assert len({node.name for node in nodes if node}) == 3, "three raylets of one host have names of their own"
    compared = call(sweep.folder, "compare", "here.json", "there.json", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    assert unclaimed_cpus(cluster) == 3.0


def test_packs_go_together_there_too(make_sweep: MakeSweep) -> None:
    """On a cluster of this machine alone, which comes and goes with the sweep."""
    sweep = make_sweep(run_dir=None)
    packs = ["run", "tiny.toml", "--pack", "2", "--threads", "1", "--jobs", "1", "--device", "cpu"]
    here = call(sweep.folder, *packs, "--out", "here.json")
    there = sweep.call(*packs, "--executor", "ray", "--out", "there.json")
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    ours, theirs = (read_profile(sweep.folder / name) for name in ("here.json", "there.json"))
    assert {run.pack_size for run in theirs.runs} == {2}
    assert list(map(found, theirs.runs)) == list(map(found, ours.runs))


@pytest.mark.xdist_group("ray-guarded")
def test_a_sweep_there_is_paused_steered_and_left_as_one_here(
    cluster: RayCluster, make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep(seeds=6)
    engine = sweep.start(*on(cluster, sweep, jobs=2))
    first, second = sorted(sweep.wait_until_busy().values())
    assert sweep.control("pause") == "the sweep is paused"
    sweep.turn_until(lambda view: not view.leased)
    paused = [event for event in events(sweep, first) if isinstance(event, RunPaused)]
    assert len(paused) == 1
    before = sweep.sizes()
    sweep.gate.open()
    for _ in range(2):  # between two answers the engine has looked at all slots
        assert sweep.control("pause") == "the sweep is paused"
    assert sweep.sizes() == before
    assert not sweep.view().leased
    sweep.gate.close()
    sweep.control("resume")
    sweep.wait_until_busy()
    assert "cancelled" in sweep.control("cancel", second)
    sweep.wait_until_busy()
    engine.send_signal(signal.SIGINT)
    sweep.gate.open()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert "Traceback" not in stderr
    partial = sweep.profile(stdout)
    assert partial.state == "partial"
    wait_until_left(cluster, sweep)

    done = sweep.call(*on(cluster, sweep, "--resume", jobs=2))
    assert done.returncode == 1, "one was cancelled"
    profile = sweep.profile(done.stdout)
    assert {run.run_id: run.status for run in profile.runs if run.status != "ok"} == {second: "cancelled"}
    check_undisturbed(profile.model_copy(update={"runs": tuple(run for run in profile.runs if run.status == "ok")}))
    assert unclaimed_cpus(cluster) == 3.0


def events(sweep: Sweep, run_id: str) -> list[object]:
    return list(sweep.run_dir.parse_events(run_id, read_lines(sweep.run_dir.events_path(run_id))))


def journal(sweep: Sweep, kind: type[E]) -> list[E]:
    return [event for event in sweep.run_dir.read_journal() if isinstance(event, kind)]


def test_a_machine_that_joins_later_takes_part(
    start_cluster: Start, make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_cluster({"num_cpus": 0}, {"num_cpus": 1}) as cluster:
        cluster.show(monkeypatch)
        sweep = make_sweep()
        engine = sweep.start(*on(cluster, sweep, jobs=2))
        sweep.turn_until(lambda view: any(history.epochs for history in view.histories.values()))
        assert set(sweep.under_way()) <= {"ray/0"}
        cluster.add({"num_cpus": 1})
        sweep.wait_until(lambda view: len(view.leased) == 2)
        sweep.gate.open()
        stdout, stderr = engine.communicate(timeout=PATIENCE_S)
        assert engine.returncode == 0, stderr
        assert len({run.node.name for run in sweep.profile(stdout).runs if run.node}) == 2


@pytest.mark.faults
def test_every_result_comes_once_whatever_is_killed(
    brittle_cluster: RayCluster, make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    cluster, sweep = brittle_cluster, make_sweep(seeds=6)
    engine = sweep.start(*on(cluster, sweep, "--checkpoint-every", "0.2"))
    kills: tuple[Callable[[], None], ...] = (
        lambda: remote_workers(cluster)[0].kill(),
        lambda: workers(cluster)[0].kill(),
        lambda: os.kill(cluster.raylet_pids[1], signal.SIGKILL),
    )
    for number, kill in enumerate(kills):
        sweep.wait_until(lambda view: len(sweep.under_way()) == 3)
        turns = iter(range(30))  # three times that many end no run, so that each kill hits one that is being trained
        sweep.turn_until(lambda view: next(turns, None) is None)  # noqa: B023 -- called at once
        kill()
        sweep.wait_until(lambda view: len(journal(sweep, RunReturned)) > number)  # noqa: B023
    sweep.turn_until(lambda view: view.ended)
    engine.kill()
    engine.communicate()
    wait_until_left(cluster, sweep)  # what the engine had at work went with it
    assert 1 <= len(sweep.view().ended) < 6

    sweep.gate.open()
    done = sweep.call(*on(cluster, sweep, "--resume"))
    assert done.returncode == 0, done.stderr
    profile = sweep.profile(done.stdout)
    assert profile.state == "complete"
    check_undisturbed(profile)
    for run in profile.runs:
        assert [event.status for event in events(sweep, run.run_id) if isinstance(event, RunEnded)] == ["ok"]
    assert len(journal(sweep, RunLeased)) >= 6 + 3
    assert not journal(sweep, SlotDisabled)
    assert unclaimed_cpus(cluster) == 2.0, "the third went with its raylet"
    wait_until_left(cluster, sweep)


def test_two_sides_do_not_take_turns_on_a_cluster(make_sweep: MakeSweep) -> None:
    said = make_sweep(run_dir=None).refusal(
        "run", "tiny.toml", "--executor", "ray", "--against-set", "network.growth_rate=4"
    )
    assert "--executor ray" in said
