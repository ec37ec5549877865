"""Connecting to Ray: what listens, what is left, who is turned away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dnlbench.errors import ConfigurationError, DnlbenchError, EngineError
from dnlbench.executor.cluster import safety
from dnlbench.executor.cluster.connecting import connected
from dnlbench.executor.cluster.question import _find
from dnlbench.executor.cluster.safety import examine
from tests.executor.ray_clusters import RayCluster, started

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

DRIVER = """
import json, os, signal, subprocess, sys
import psutil
from dnlbench.executor.cluster.connecting import connected
from dnlbench.executor.cluster.reaper import MARK, left_of
from dnlbench.executor.cluster.safety import _ask

def stop(number, frame): ...
signal.signal(signal.SIGTERM, stop)
before = dict(os.environ)
with connected(None):
    import ray
    from pathlib import Path

    given = ray.get(ray.remote(lambda: dict(os.environ)).remote())
    mark, folder = given[MARK], Path(ray._private.worker._global_node.get_temp_dir_path()).parent
    ray_address = ray.get_runtime_context().gcs_address
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    child = ray.remote(lambda: subprocess.Popen(["sleep", "600"], start_new_session=True, **quiet).pid)
    facts = {
        "folder": str(folder),
        "mode": folder.stat().st_mode & 0o777,
        "child": ray.get(child.remote()),
        "cpus": ray.cluster_resources()["CPU"],
        "handler": signal.getsignal(signal.SIGTERM) is stop,
        "anonymous": _ask(ray_address, anonymous=True),
        "passed_on": sorted(name for name in os.environ.keys() - before.keys()),
    }
    os.environ.update({name: given[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")})
    facts["ours"] = _ask(ray_address, anonymous=False)
    running = [psutil.Process(), *psutil.Process().children(recursive=True)]
    facts["pids"] = [process.pid for process in running]
    facts["listening"] = [
        connection.laddr.ip
        for process in running
        for connection in process.net_connections()
        if connection.status in ("LISTEN", "NONE")
    ]
    arguments = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    facts["told"] = [line for line in arguments if given["RAY_AUTH_TOKEN"] in line]
    facts["looked_at"] = sum("raylet" in line for line in arguments)
    facts["names"] = [process.name() for process in running]
    del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
assert signal.getsignal(signal.SIGTERM) is stop
print(json.dumps([process.pid for process in left_of(mark, folder) if process.pid != os.getpid()]))
"""


def begin_driver() -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    return process, json.loads(line)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # whose parent has yet to look
    except psutil.NoSuchProcess:
        return True


def test_a_cluster_of_this_machine_alone_answers_to_nobody_else_and_leaves_nothing() -> None:
    driver, facts = begin_driver()
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert {"raylet", "gcs_server"} <= set(facts["names"])
    assert len(facts["listening"]) >= 6, "the processes were not found"
    assert {ip.removeprefix("::ffff:") for ip in facts["listening"]} == {"127.0.0.1"}
    assert facts["anonymous"]["status"] == "refused"
    assert facts["ours"]["status"] == "answered"
    assert facts["ours"]["nodes"] == ["127.0.0.1"]
    assert facts["told"] == []
    assert facts["looked_at"]
    assert facts["handler"] is True
    assert facts["mode"] == 0o700
    assert set(facts["passed_on"]) <= {"RAY_CLIENT_MODE", "PYTHONBREAKPOINT"}, "Ray's own"
    assert json.loads(out) == []
    assert all(map(has_ended, [facts["child"], *facts["pids"]]))
    assert not Path(facts["folder"]).exists()
    assert err == ""


def test_nothing_survives_a_driver_that_is_killed() -> None:
    driver, facts = begin_driver()
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 30
    folder = Path(facts["folder"])
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()
    assert len(facts["pids"]) >= 8
    assert facts["child"] in facts["pids"]
    while not all(map(has_ended, facts["pids"])) and time.monotonic() < deadline:
        time.sleep(0.1)  # the reaper itself is one of them
    assert [pid for pid in facts["pids"] if not has_ended(pid)] == []


@pytest.fixture(scope="module")
def guarded() -> Iterator[RayCluster]:
    """One node; whoever does not know its token is turned away."""
    with started({"num_cpus": 1}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[RayCluster]:
    """One node that asks nobody for a token, but listens on loopback."""
    with started({"num_cpus": 1}, token=False) as cluster:
        yield cluster


def adopt(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name in safety._CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**cluster.environment, **changes}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("address", ["as printed", "auto"])
def test_a_cluster_that_is_there_is_left_as_it_was(
    guarded: RayCluster, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    import ray

    adopt(guarded, monkeypatch)
    handler = signal.getsignal(signal.SIGTERM)
    with connected(guarded.address if address == "as printed" else address):
        assert {node["NodeID"] for node in ray.nodes()} == set(guarded.node_ids)
        assert ray.get(ray.remote(lambda: os.getppid()).remote()) == guarded.raylet_pids[0]
        assert signal.getsignal(signal.SIGTERM) is handler
    assert not ray.is_initialized()
    assert all(map(psutil.pid_exists, guarded.raylet_pids))


def test_a_cluster_is_left_when_the_sweep_fails(guarded: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    adopt(guarded, monkeypatch)
    with pytest.raises(ZeroDivisionError), connected(guarded.address):
        raise ZeroDivisionError
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    "credentials",
    [
        {"RAY_AUTH_TOKEN": "ab" * 32},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "/nowhere/token"},
    ],
    ids=["wrong", "none", "unreadable"],
)
def test_a_wrong_token_says_where_the_right_one_belongs(
    guarded: RayCluster, monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str]
) -> None:
    adopt(guarded, monkeypatch, **credentials)
    with pytest.raises(ConfigurationError, match=r"does not take this process's token\. Set RAY_AUTH_MODE=token"):
        examine(guarded.address)


def test_the_token_is_not_sent_before_the_cluster_was_asked_without(
    open_to_all: RayCluster, guarded: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    ask = safety._ask

    def note(address: str, *, anonymous: bool) -> dict[str, Any]:
        asked.append(anonymous)
        return ask(address, anonymous=anonymous)

    monkeypatch.setattr(safety, "_ask", note)
    adopt(guarded, monkeypatch)
    assert not examine(open_to_all.address).enforces
    assert asked == [True]
    assert examine(guarded.address).enforces
    assert asked == [True, True, False]


def test_a_cluster_that_others_can_reach_has_to_ask_for_a_token(
    open_to_all: RayCluster, guarded: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(guarded, monkeypatch)  # what our own environment says must not matter
    assert not examine(open_to_all.address).enforces, "on loopback it may be used"
    monkeypatch.setattr(safety, "_is_loopback", lambda host: False)  # rather than to open it for real
    with pytest.raises(
        ConfigurationError, match=r"whoever reaches it can run any code.*RAY_AUTH_MODE=token.*--ray-insecure"
    ):
        examine(open_to_all.address)
    with pytest.raises(ConfigurationError, match="can be reached from other machines"), connected(open_to_all.address):
        pytest.fail("connected")
    assert not examine(open_to_all.address, insecure=True).enforces
    assert examine(guarded.address).enforces


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("fe80::1", False),
        ("no-such-host.invalid", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert safety._is_loopback(host) is expected


def test_rays_client_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ConfigurationError, match=r"Run dnlbench on a machine of the cluster.*auto.*attach"):
        examine("ray://10.0.0.1:10001")


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.1:", "10.0.0.1:head", ""])
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ConfigurationError, match="write host:port"):
        examine(address)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"needs Ray.*pip install 'dnlbench\[ray\]'"), connected(None):
        pytest.fail("connected")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(
        ConfigurationError, match=rf"127\.0\.0\.1:{port}: nobody answers there \(.*refused.*ray start --head"
    ):
        examine(f"127.0.0.1:{port}")


def test_no_cluster_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "_ask", lambda address, *, anonymous: {"status": "absent"})
    with pytest.raises(ConfigurationError, match="auto: no Ray cluster runs on this machine"):
        examine("auto")


def test_one_of_several_clusters_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    def find(last: str | None, *running: str) -> str | None:
        monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: last)
        monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset(running))
        return _find("auto")

    assert find("10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2") == "10.0.0.1:1"
    assert find("10.0.0.1:1", "10.0.0.1:2") == "10.0.0.1:2", "the last one is gone"
    assert find("10.0.0.1:1") is None
    with pytest.raises(LookupError, match=r"several run here, at 10\.0\.0\.1:1, 10\.0\.0\.1:2"):
        find(None, "10.0.0.1:1", "10.0.0.1:2")


def test_somebody_else_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "LIMIT_S", 3)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(EngineError, match="does not tell who it is: no answer within 3 s"),
    ):
        examine(f"127.0.0.1:{server.getsockname()[1]}")


GOOD = {"status": "answered", "address": "127.0.0.1:6379", "nodes": ["127.0.0.1"], "here": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ray": "2.1.0"}, r"runs Ray 2\.1\.0 on Python .*same on every machine"),
        ({"python": "3.10.1"}, r"on Python 3\.10\.1, this is"),
        ({"here": False}, r"no node of the Ray cluster .* runs on this machine.*ray start --address=127\.0\.0\.1:6379"),
    ],
)
def test_clusters_that_cannot_be_used(changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import platform
    from importlib import metadata

    same = {"ray": metadata.version("ray"), "python": platform.python_version()}
    answer = {**GOOD, **same, **changes}
    monkeypatch.setattr(safety, "_ask", lambda address, *, anonymous: answer)
    with pytest.raises(DnlbenchError, match=message) as raised:
        examine("auto")
    assert isinstance(raised.value, ConfigurationError)
    answer |= {**GOOD, **same}
    assert examine("auto").nodes == ("127.0.0.1",)


WORDY = """
import time
from dnlbench.executor.cluster.connecting import connected

with connected(None):
    import ray
    from ray._private.utils import publish_error_to_driver

    worker = ray._private.worker.global_worker
    publish_error_to_driver("kind", "a node has died", gcs_client=worker.gcs_client, job_id=worker.current_job_id)
    time.sleep(2.0)
print("data")
"""


def test_what_a_cluster_reports_does_not_get_into_the_data() -> None:
    done = subprocess.run([sys.executable, "-c", WORDY], capture_output=True, text=True, timeout=60)
    assert done.stdout == "data\n"
