"""What is made of what the machines of a Ray cluster tell; Ray itself is not needed."""

from __future__ import annotations

from typing import Any

import pytest

from dnlbench.errors import ConfigurationError, DeviceError
from dnlbench.executor.ray import inventory
from dnlbench.executor.ray.inventory import ClusterNode, capacity, kind_of
from dnlbench.machine import Device, read_machine, source_hash
from tests.conftest import MACHINE

GPUS = tuple(Device(kind="cuda", index=index, name="A GPU") for index in range(8))


def offer(node_id: str, name: str = "10.0.0.1") -> dict[str, Any]:
    return {"NodeID": node_id, "NodeName": name, "NodeManagerAddress": "10.0.0.1"}


def fact(host: str = "one", **changes: Any) -> dict[str, Any]:
    return {"host": host, "source": source_hash(), "machine": read_machine().model_dump(mode="json"), **changes}


def test_every_machine_that_is_not_like_this_one_is_named() -> None:
    fields = [
        fact("one"),
        fact("two", missing="No module named 'dnlbench'"),
        fact("three", source="0"),
        fact("four", machine={"torch": "1.0"}),
    ]
    offers = [offer(str(index)) for index in range(4)]
    with pytest.raises(ConfigurationError) as raised:
        inventory._require_equal(offers, fields)
    message = str(raised.value)
    assert "one (10" not in message
    assert "two (10.0.0.1) cannot import dnlbench (No module named 'dnlbench')" in message
    assert "three (10.0.0.1) has different source files of dnlbench (hash 0" in message
    assert f"four (10.0.0.1) has torch 1.0, here torch {read_machine().torch}" in message
    assert "Install the same versions on all of them" in message


def test_names_of_nodes_are_unique() -> None:
    offers = [offer("aaaaaaaa11"), offer("bbbbbbbb22"), offer("cccccccc33"), offer("dddddddd44", name="rack-7")]
    fields = [fact("one"), fact("one"), fact("two"), fact("two")]
    assert inventory._names(offers, fields) == ["one-aaaaaaaa", "one-bbbbbbbb", "two", "rack-7"]


def node(cpus: float, gpus: float = 0, devices: int = 0) -> ClusterNode:
    return ClusterNode(
        node_id="ab" * 28,
        name=f"node-{cpus:g}",
        cpus=cpus,
        gpus=gpus,
        memory_bytes=2**30,
        machine=MACHINE.model_copy(update={"devices": (*GPUS[:devices], *MACHINE.devices)}),
    )


@pytest.mark.parametrize(
    ("nodes", "kind", "threads", "expected"),
    [
        ([node(4), node(7)], "cpu", 1, 11),
        ([node(4), node(7)], "cpu", 2, 5),
        ([node(4), node(7)], "cpu", 5, 1),
        ([node(4.5), node(0.5)], "cpu", 1, 4),
        ([node(16, 4, 4), node(64)], "cuda", 2, 4),
        ([node(4, 8, 8)], "cuda", 2, 2),  # no more than there are CPUs to feed
    ],
)
def test_capacity(nodes: list[ClusterNode], kind: Any, threads: int, expected: int) -> None:
    assert capacity(nodes, kind, threads) == expected


def test_no_room_at_all() -> None:
    with pytest.raises(
        ConfigurationError, match=r"--threads 8: no machine .* so many CPUs\. Available: node-4: 4 CPUs, 0 GPUs"
    ):
        capacity([node(4), node(7)], "cpu", 8)
    with pytest.raises(ConfigurationError, match="so many CPUs and a GPU"):
        capacity([node(4, 1, 1), node(8)], "cuda", 8)


def test_the_kind_of_device() -> None:
    bare, gpus = node(4), node(8, 2, 2)
    assert kind_of([bare], "auto") == "cpu"
    assert kind_of([bare, gpus], "auto") == "cuda"
    assert kind_of([bare, gpus], "cpu") == "cpu"
    assert kind_of([bare, gpus], "cuda") == "cuda"
    assert kind_of([node(8, 2, 3)], "cuda") == "cuda", "not all of them are offered"
    with pytest.raises(DeviceError, match=r"--device cuda: no machine .* offers a GPU\. Available: node-4"):
        kind_of([bare], "cuda")
    with pytest.raises(DeviceError, match="node-9 offers 2 GPUs to Ray but has 1 CUDA devices"):
        kind_of([gpus, node(9, 2, 1)], "auto")


@pytest.mark.parametrize("device", ["mps", "cuda:0,1", "cuda:0"])
def test_devices_that_ray_does_not_give_out(device: str) -> None:
    with pytest.raises(
        DeviceError, match=rf"--device {device} with --executor ray: .*CUDA_VISIBLE_DEVICES at `ray start`"
    ):
        kind_of([node(8, 2, 2)], device)
