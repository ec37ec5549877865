"""What a Ray cluster has, as its machines tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dnlbench.errors import ConfigurationError, DeviceError
from dnlbench.executor.ray import inventory
from dnlbench.executor.ray.inventory import capacity, kind_of, read_nodes
from dnlbench.machine import read_machine, source_hash

if TYPE_CHECKING:
    from tests.executor.ray_clusters import RayCluster

pytest.importorskip("ray")
pytest_plugins = ["tests.executor.ray_clusters"]
pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray-open")]


def test_the_machines_that_take_work(driver: RayCluster) -> None:
    nodes = {node.node_id: node for node in read_nodes()}
    assert set(nodes) == set(driver.node_ids[1:])
    first, second = (nodes[node_id] for node_id in driver.node_ids[1:])
    assert (first.cpus, first.gpus, first.name) == (3, 0, "rack-7")
    assert (second.cpus, second.gpus) == (1, 64)
    here = read_machine()
    for node in (first, second):
        assert node.memory_bytes > 2**20
        assert node.machine.fingerprint == here.fingerprint
        assert node.machine.torch == here.torch
        assert (node.node.name, node.node.fingerprint) == (node.name, here.fingerprint)
    assert capacity((first, second), "cpu", 1) == 4
    assert capacity((first, second), "cpu", 2) == 1
    with pytest.raises(
        DeviceError, match=rf"{second.name} offers 64 GPUs to Ray but has \d CUDA devices.*--device cpu"
    ):
        kind_of((first, second), "auto")
    assert kind_of((first, second), "cpu") == "cpu"


def test_another_dnlbench_somewhere_is_refused(driver: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    here = source_hash()
    monkeypatch.setattr(inventory, "source_hash", lambda: "fedcba9876543210")
    with pytest.raises(
        ConfigurationError, match=rf"\(127\.0\.0\.1\) has different source files .*{here}, here fedcba9876543210"
    ):
        read_nodes()
