"""The inventory of a Ray cluster: its machines, their versions of dnlbench and torch, and how many runs fit at a time."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dnlbench.errors import ConfigurationError, DeviceError, EngineError
from dnlbench.machine import Device, Machine, Node, node_of, source_hash, torch_version, why_unusable

PROBE_S = 120.0
"""Time limit for machines to describe themselves. Each starts a process, which may import dnlbench over a network."""
ID_LENGTH = 8
"""Number of digits of Ray's node id that are appended to make a name unique."""


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """A node of the cluster that offers CPUs: one machine, or one of several nodes on a machine."""

    node_id: str
    """Node id assigned by Ray."""
    name: str
    """Name given with ``ray start --node-name``, or else the host name, with part of the node id if several nodes share it."""
    cpus: float
    """CPUs offered to Ray; the following fields are also what the node offers."""
    gpus: float
    memory_bytes: int
    machine: Machine
    """The machine as read on the node, with all of its GPUs."""

    @property
    def node(self) -> Node:
        return node_of(self.machine, self.name)


def read_nodes() -> tuple[ClusterNode, ...]:
    """Return the nodes of the connected cluster that offer CPUs, sorted by name.

    Raises:
        ConfigurationError: if there are none, or if a node has no dnlbench, or another version of dnlbench or torch.
        EngineError: if a node does not describe itself in time.
    """
    import ray

    listed = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    answers = _probe([str(node["NodeID"]) for node in listed])
    offers = [node for node, answer in zip(listed, answers, strict=True) if answer is not None]
    descriptions = [answer for answer in answers if answer is not None]
    if not offers:
        raise ConfigurationError(
            "the Ray cluster offers no CPU: add a machine with `ray start --address=…`, without --num-cpus=0"
        )
    _require_equal(offers, descriptions)
    nodes = map(_read, offers, descriptions, _names(offers, descriptions))
    return tuple(sorted(nodes, key=lambda node: node.name))


def kind_of(nodes: Sequence[ClusterNode], asked: str) -> Literal["cpu", "cuda"]:
    """Return the kind of device that runs use on the cluster; ``auto`` means GPUs if there are any.

    Raises:
        DeviceError: if ``asked`` is another device, or if GPUs are missing.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise DeviceError(
            f"--device {asked} with --executor ray: write auto, cpu or cuda. Ray assigns the GPUs of its machines; set "
            "CUDA_VISIBLE_DEVICES at `ray start` to choose which of them it uses"
        )
    offering = [node for node in nodes if node.gpus > 0]
    if asked == "cpu" or (asked == "auto" and not offering):
        return "cpu"
    if not offering:
        raise DeviceError("--device cuda: no machine of the Ray cluster offers a GPU. Available: " + _present(nodes))
    for node in offering:
        there = sum(device.kind == "cuda" for device in node.machine.devices)
        if there < node.gpus:
            raise DeviceError(
                f"{node.name} offers {node.gpus:g} GPUs to Ray but has {there} CUDA devices. Start its node again without "
                "--num-gpus, so that Ray counts them itself, or use --device cpu" + why_unusable(node.machine.unusable)
            )
    return "cuda"


def capacity(nodes: Sequence[ClusterNode], kind: Literal["cpu", "cuda"], threads: int) -> int:
    """Count the runs with ``threads`` CPUs each, plus one GPU each for ``cuda``, that fit on the cluster at a time.

    Raises:
        ConfigurationError: if not even one fits.
    """
    fitting = [int(node.cpus // threads) for node in nodes]
    if kind == "cuda":
        fitting = [min(room, int(node.gpus)) for room, node in zip(fitting, nodes, strict=True)]
    if not any(fitting):
        with_gpu = " and a GPU" if kind == "cuda" else ""
        raise ConfigurationError(
            f"--threads {threads}: no machine of the Ray cluster offers so many CPUs{with_gpu}. Available: {_present(nodes)}"
        )
    return sum(fitting)


def device_of_any(nodes: Sequence[ClusterNode], kind: Literal["cpu", "cuda"]) -> Device:
    """Return a device that represents all devices of the kind: the largest memory, the names of all models, no utilization."""
    devices = [device for node in nodes for device in node.machine.devices if device.kind == kind]
    largest = max(devices, key=lambda device: device.memory_bytes or 0)
    names = ", ".join(sorted({device.name for device in devices}))
    return Device(kind=kind, name=names, memory_bytes=largest.memory_bytes, memory_shared=largest.memory_shared)


def _present(nodes: Sequence[ClusterNode]) -> str:
    return "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes) or "no machine"


def _probe(node_ids: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return the description of each node, in order; None if the node has left.

    A description has the key ``missing`` if dnlbench cannot be imported there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def describe() -> dict[str, Any]:
        """Describe this machine.

        Ray serializes this function by value, and its result is plain data, because dnlbench may be missing there.
        """
        import os
        import socket

        hidden = os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from tasks that request none
        try:
            from dnlbench.machine import read_machine, source_hash

            machine = read_machine().model_dump(mode="json")
            return {"host": socket.gethostname(), "source": source_hash(), "machine": machine}
        except ImportError as error:
            return {"host": socket.gethostname(), "missing": str(error)}
        finally:
            if hidden is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = hidden

    task = ray.remote(num_cpus=0, max_retries=0)(describe)
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote()
        for node_id in node_ids
    ]
    ray.wait(answers, num_returns=len(answers), timeout=PROBE_S)
    return [_answer(*pair) for pair in zip(answers, node_ids, strict=True)]


def _answer(reference: Any, node_id: str) -> dict[str, Any] | None:
    import ray
    from ray import exceptions

    try:
        answer: dict[str, Any] = ray.get(reference, timeout=0.1)
    except exceptions.GetTimeoutError:
        raise EngineError(f"Ray node {node_id} did not describe its machine within {PROBE_S:.0f} s") from None
    except (exceptions.TaskUnschedulableError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
        return None  # Ray still lists a lost machine for a while
    except exceptions.RayError as error:
        reason = str(error).splitlines()[-1]
        raise EngineError(f"Ray node {node_id} could not describe its machine: {reason}") from error
    return answer


def _require_equal(offers: Sequence[dict[str, Any]], descriptions: Sequence[dict[str, Any]]) -> None:
    """Reject a cluster whose machines could compute different results."""
    wrong = [
        f"{description['host']} ({offer['NodeManagerAddress']}) {why}"
        for offer, description in zip(offers, descriptions, strict=True)
        for why in _differences(description)
    ]
    if wrong:
        raise ConfigurationError(
            f"machines of the Ray cluster have different versions of dnlbench or torch: {'; '.join(dict.fromkeys(wrong))}. "
            "Install the same versions on all of them, or put the environment on storage that they share, and start "
            "`ray start` from it"
        )


def _differences(description: dict[str, Any]) -> Iterator[str]:
    if "missing" in description:
        yield f"cannot import dnlbench ({description['missing']})"
        return
    if description["source"] != source_hash():
        yield f"has different source files of dnlbench (hash {description['source']}, here {source_hash()})"
    if description["machine"]["torch"] != torch_version():
        yield f"has torch {description['machine']['torch']}, here torch {torch_version()}"


def given_name(offer: Mapping[str, Any]) -> str | None:
    """Return the name that a node was started with; None if it has none."""
    name = offer.get("NodeName")
    return (
        str(name) if name and name != offer["NodeManagerAddress"] else None
    )  # Ray uses the address if there is no name


def _names(offers: Sequence[dict[str, Any]], descriptions: Sequence[dict[str, Any]]) -> list[str]:
    wanted = [
        given_name(offer) or str(description["host"]) for offer, description in zip(offers, descriptions, strict=True)
    ]
    times = Counter(wanted)
    return [
        name if times[name] == 1 else f"{name}-{offer['NodeID'][:ID_LENGTH]}"
        for name, offer in zip(wanted, offers, strict=True)
    ]


def name_of_newcomer(offer: Mapping[str, Any], taken: Iterable[str]) -> str:
    """Return the name of this machine, which joined the cluster after the inventory was taken."""
    name = given_name(offer) or socket.gethostname()
    return f"{name}-{offer['NodeID'][:ID_LENGTH]}" if name in taken else name


def _read(offer: dict[str, Any], description: dict[str, Any], name: str) -> ClusterNode:
    resources = offer["Resources"]
    return ClusterNode(
        node_id=str(offer["NodeID"]),
        name=name,
        cpus=float(resources["CPU"]),
        gpus=float(resources.get("GPU", 0)),
        memory_bytes=int(resources.get("memory", 0)),
        machine=Machine.model_validate(description["machine"]),
    )
