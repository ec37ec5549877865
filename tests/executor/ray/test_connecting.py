"""Connecting to Ray: what listens, what is left, who is turned away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dnlbench.errors import ConfigurationError
from dnlbench.executor.ray import safety
from dnlbench.executor.ray.connecting import connected
from dnlbench.executor.ray.safety import examine
from tests.cli.conftest import PATIENCE_S
from tests.cli.conftest import _wait_until as wait_until

if TYPE_CHECKING:
    from tests.executor.ray_clusters import RayCluster

pytest.importorskip("ray")
pytest_plugins = ["tests.executor.ray_clusters"]
pytestmark = pytest.mark.ray
with_guarded, with_open = (pytest.mark.xdist_group(name) for name in ("ray-guarded", "ray-open"))

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
"""Of no cluster."""
DRIVER = """
import json, os, signal, subprocess, sys
import psutil
from dnlbench.executor.ray.connecting import connected
from dnlbench.executor.ray.reaper import MARK, left_of
from dnlbench.executor.ray.safety import _ask

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
    facts["niceness"] = ray.get(ray.remote(lambda: os.nice(0)).remote())
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
    out, err = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 0, err
    assert {"raylet", "gcs_server"} <= set(facts["names"])
    assert facts["niceness"] == os.nice(0), "a run there competes with other processes as a run here does"
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
    wait_until(lambda: not Path(facts["folder"]).exists())
    assert len(facts["pids"]) >= 8
    assert facts["child"] in facts["pids"]
    wait_until(lambda: all(map(has_ended, facts["pids"])))  # the reaper itself is one of them


def adopt(cluster: RayCluster, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name in safety._CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**cluster.environment, **changes}.items():
        monkeypatch.setenv(name, value)


@with_guarded
@pytest.mark.parametrize(("address", "fails"), [("as printed", False), ("auto", True)])
def test_a_cluster_that_is_there_is_left_as_it_was(
    guarded: RayCluster, monkeypatch: pytest.MonkeyPatch, address: str, fails: bool
) -> None:
    import ray

    adopt(guarded, monkeypatch)
    handler = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(),
        connected(guarded.address if address == "as printed" else address),
    ):
        assert {node["NodeID"] for node in ray.nodes()} == set(guarded.node_ids)
        assert ray.get(ray.remote(lambda: os.getppid()).remote()) in guarded.raylet_pids
        assert signal.getsignal(signal.SIGTERM) is handler
        if fails:
            raise ZeroDivisionError
    assert not ray.is_initialized()
    assert all(map(psutil.pid_exists, guarded.raylet_pids))


@with_guarded
@pytest.mark.parametrize(
    "credentials",
    [
        TOKEN,
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each question to a cluster was without a token."""
    asked, ask = [], safety._ask

    def note(address: str, *, anonymous: bool) -> dict[str, Any]:
        asked.append(anonymous)
        return ask(address, anonymous=anonymous)

    monkeypatch.setattr(safety, "_ask", note)
    return asked


@with_guarded
def test_the_token_is_not_sent_before_the_cluster_was_asked_without(
    guarded: RayCluster, monkeypatch: pytest.MonkeyPatch, asked: list[bool]
) -> None:
    """Such a cluster may be used wherever it is."""
    adopt(guarded, monkeypatch)
    monkeypatch.setattr(safety, "_is_loopback", lambda host: False)
    assert examine(guarded.address).enforces
    assert asked == [True, False]


@with_open
def test_a_cluster_that_others_can_reach_has_to_ask_for_a_token(
    open_to_all: RayCluster, monkeypatch: pytest.MonkeyPatch, asked: list[bool]
) -> None:
    adopt(open_to_all, monkeypatch, **TOKEN)  # what our own environment says must not matter
    assert not examine(open_to_all.address).enforces, "on loopback it may be used"
    assert asked == [True], "our token is not for it"
    monkeypatch.setattr(safety, "_is_loopback", lambda host: False)  # rather than to open it for real
    with pytest.raises(
        ConfigurationError, match=r"whoever reaches it can run any code.*RAY_AUTH_MODE=token.*--ray-insecure"
    ):
        examine(open_to_all.address)
    with pytest.raises(ConfigurationError, match="can be reached from other machines"), connected(open_to_all.address):
        pytest.fail("connected")
    assert not examine(open_to_all.address, insecure=True).enforces


WORDY = """
import sys, threading
from dnlbench.executor.ray.connecting import connected

with connected(sys.argv[1]):
    import ray
    from ray._private import worker
    from ray._private.utils import publish_error_to_driver

    printed, heard = worker.print_to_stdstream, threading.Event()

    def note(*what, **how):
        printed(*what, **how)
        heard.set()

    worker.print_to_stdstream = note
    facts = {"gcs_client": worker.global_worker.gcs_client, "job_id": worker.global_worker.current_job_id}
    while not heard.wait(0.1):  # Ray may not listen yet
        publish_error_to_driver("kind", "a node has died", **facts)
print("data")
"""


@with_guarded
def test_what_a_cluster_reports_does_not_get_into_the_data(
    guarded: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(guarded, monkeypatch)
    done = subprocess.run(
        [sys.executable, "-c", WORDY, guarded.address], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "data\n", done.stderr
