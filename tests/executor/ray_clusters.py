"""Real Ray clusters of several raylets on this machine. They listen on loopback alone and leave nothing behind.

A plugin of pytest: ``pytest_plugins`` of a module gives its tests the two clusters that all tests share which break nothing.
Each has a group for pytest-xdist, ``ray-guarded`` and ``ray-open``, whose tests go to one process, so that it is started once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dnlbench.executor.ray.connecting import NORMAL_PRIORITY, connected
from dnlbench.executor.ray.reaper import MARK, left_of, reap
from tests.cli.conftest import _wait_until as wait_until

HOST = Path(__file__).with_name("ray_host.py")


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """One that runs."""

    address: str
    node_ids: tuple[str, ...]
    """The head's first."""
    raylet_pids: tuple[int, ...]
    """In the same order: killing one takes its node away, as if the machine had gone."""
    environment: Mapping[str, str]
    """What a driver of it needs in its own."""
    mark: str
    folder: Path
    host: subprocess.Popen[str]

    def show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes the test a driver that knows the token."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def add(self, node: Mapping[str, Any]) -> None:
        """Has one more node join it."""
        assert self.host.stdin is not None
        assert self.host.stdout is not None
        print(json.dumps(node), file=self.host.stdin, flush=True)
        assert json.loads(self.host.stdout.readline())["node_id"]

    def unclaimed(self) -> dict[str, float]:
        """CPUs and GPUs that nobody claims, once that and memory are all there is; this process is connected to it."""
        import ray

        def amounts(found: Mapping[str, float]) -> dict[str, float]:
            return {kind: found.get(kind, 0.0) for kind in ("CPU", "GPU", "memory")}

        wait_until(lambda: amounts(ray.available_resources()) == amounts(ray.cluster_resources()))
        return {kind: ray.cluster_resources().get(kind, 0.0) for kind in ("CPU", "GPU")}

    def processes(self) -> list[psutil.Process]:
        """What runs for it, but for the process that asks."""
        return [process for process in left_of(self.mark, self.folder) if process.pid != os.getpid()]


@contextlib.contextmanager
def started(*nodes: Mapping[str, Any], token: bool = True) -> Iterator[RayCluster]:
    """A cluster with one raylet for each of the nodes.

    Args:
        nodes: Ray's parameters, ``num_cpus`` and the like, the head's first.
        token: whether it turns away whoever does not know its token.
    """
    mark, folder = secrets.token_hex(8), Path(tempfile.mkdtemp(prefix="dnl-", dir="/tmp"))  # sockets' paths are short
    environment = {
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        **NORMAL_PRIORITY,
    }
    if token:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    host = subprocess.Popen(
        [sys.executable, str(HOST), "127.0.0.1", *map(json.dumps, nodes)],
        env={**os.environ, **environment, MARK: mark},
        stdin=subprocess.PIPE,  # ends with this process, and the cluster with it
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert host.stdout is not None
        fields = json.loads(host.stdout.readline())
        yield RayCluster(
            address=fields["address"],
            node_ids=tuple(node["node_id"] for node in fields["nodes"]),
            raylet_pids=tuple(node["raylet_pid"] for node in fields["nodes"]),
            environment=environment,
            mark=mark,
            folder=folder,
            host=host,
        )
    finally:
        host.kill()  # and with it, as Ray has the kernel see to it, the raylets
        host.communicate()
        reap(mark, folder, spare=os.getpid())
        shutil.rmtree(folder, ignore_errors=True)


Start = Callable[..., contextlib.AbstractContextManager[RayCluster]]


@pytest.fixture
def start_cluster() -> Start:
    """For a cluster of the test's own."""
    return started


@pytest.fixture(scope="session")
def guarded() -> Iterator[RayCluster]:
    """Three nodes of one CPU; whoever does not know its token is turned away."""
    with started(*[{"num_cpus": 1}] * 3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def open_to_all() -> Iterator[RayCluster]:
    """Asks nobody for a token, but listens on loopback.

    A head without work, a node with a name, and one with GPUs that nobody has.
    """
    nodes = {"num_cpus": 0}, {"num_cpus": 3, "node_name": "rack-7"}, {"num_cpus": 1, "num_gpus": 64}
    with started(*nodes, token=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def driver(open_to_all: RayCluster) -> Iterator[RayCluster]:
    """The cluster that is open to all, with this process connected to it."""
    with pytest.MonkeyPatch.context() as patch:
        open_to_all.show(patch)
        with connected(open_to_all.address):
            yield open_to_all
