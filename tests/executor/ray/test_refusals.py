"""Clusters that are refused, where none needs to run."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from dnlbench.errors import ConfigurationError, DnlbenchError, EngineError
from dnlbench.executor.ray import safety
from dnlbench.executor.ray.connecting import connected
from dnlbench.executor.ray.private import _find_address
from dnlbench.executor.ray.safety import examine

pytest.importorskip("ray")


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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # so that nobody else comes to listen there
        port = listener.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=rf"127\.0\.0\.1:{port}: no response \(.*refused.*ray start --head"
        ):
            examine(f"127.0.0.1:{port}")


def test_no_cluster_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "_query", lambda address, *, anonymous: {"status": "absent"})
    with pytest.raises(ConfigurationError, match="auto: no Ray cluster runs on this machine"):
        examine("auto")


def test_one_of_several_clusters_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    def find(last: str | None, *running: str) -> str | None:
        monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: last)
        monkeypatch.setattr(services, "find_gcs_addresses", lambda: frozenset(running))
        return _find_address("auto")

    assert find("10.0.0.1:1", "10.0.0.1:1", "10.0.0.1:2") == "10.0.0.1:1"
    assert find("10.0.0.1:1", "10.0.0.1:2") == "10.0.0.1:2", "the last one is gone"
    assert find("10.0.0.1:1") is None
    with pytest.raises(LookupError, match=r"several clusters run here, at 10\.0\.0\.1:1, 10\.0\.0\.1:2"):
        find(None, "10.0.0.1:1", "10.0.0.1:2")


def test_somebody_else_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "QUERY_TIMEOUT_S", 3)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(EngineError, match="could not be queried: no response within 3 s"),
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
    monkeypatch.setattr(safety, "_query", lambda address, *, anonymous: answer)
    with pytest.raises(DnlbenchError, match=message) as raised:
        examine("auto")
    assert isinstance(raised.value, ConfigurationError)
    answer |= {**GOOD, **same}
    assert examine("auto").address == GOOD["address"]
