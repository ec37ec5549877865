"""What a Ray cluster has: its machines, whether they run this very code, and how many runs they can carry out at a time."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dnlbench.errors import ConfigurationError, DeviceError, EngineError
from dnlbench.machine import Device, Machine, Node, node_of, source_hash, torch_version, why_unusable

PROBE_S = 120.0
"""How long the machines may take to tell about themselves: each starts a process for it and may import over a network."""
ID_LENGTH = 8
"""Digits of Ray's id in the names of nodes that would otherwise have the same."""


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """One machine of a cluster, or one of the nodes that run on it, that has room for work."""

    node_id: str
    """Ray's."""
    name: str
    """What it was started with (``ray start --node-name``), else its host's name; with part of its id where that is shared."""
    cpus: float
    """Offered to Ray, as is what follows."""
    gpus: float
    memory_bytes: int
    machine: Machine
    """Read there, with all of its GPUs."""

    @property
    def node(self) -> Node:
        return node_of(self.machine, self.name)


def read_nodes() -> tuple[ClusterNode, ...]:
    """The machines of the connected cluster that have room for work, by name.

    Raises:
        ConfigurationError: if there are none, or if one of them has no dnlbench, or another one, or another torch.
        EngineError: if one does not tell in time.
    """
    import ray

    listed = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    answers = _probe([str(node["NodeID"]) for node in listed])
    offers = [node for node, answer in zip(listed, answers, strict=True) if answer is not None]
    descriptions = [answer for answer in answers if answer is not None]
    if not offers:
        raise ConfigurationError(
            "the Ray cluster offers no CPU: let a machine join it that may work, `ray start --address=…` without --num-cpus=0"
        )
    _require_equal(offers, descriptions)
    nodes = map(_read, offers, descriptions, _names(offers, descriptions))
    return tuple(sorted(nodes, key=lambda node: node.name))


def kind_of(nodes: Sequence[ClusterNode], asked: str) -> Literal["cpu", "cuda"]:
    """On which kind of device the cluster executes runs: ``auto`` takes the GPUs if there are any.

    Raises:
        DeviceError: for another device, and for GPUs that are not there.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise DeviceError(
            f"--device {asked} with --executor ray: write auto, cpu or cuda. Ray gives out the GPUs of its machines; "
            "CUDA_VISIBLE_DEVICES at `ray start` says which of them it has"
        )
    offering = [node for node in nodes if node.gpus > 0]
    if asked == "cpu" or (asked == "auto" and not offering):
        return "cpu"
    if not offering:
        raise DeviceError("--device cuda: no machine of the Ray cluster offers a GPU. Present: " + _present(nodes))
    for node in offering:
        there = sum(device.kind == "cuda" for device in node.machine.devices)
        if there < node.gpus:
            raise DeviceError(
                f"{node.name} offers {node.gpus:g} GPUs to Ray but has {there} CUDA devices. Start its node again without "
                "--num-gpus, by which Ray counts them itself, or use --device cpu" + why_unusable(node.machine.unusable)
            )
    return "cuda"


def capacity(nodes: Sequence[ClusterNode], kind: Literal["cpu", "cuda"], threads: int) -> int:
    """How many runs of so many threads, each with a GPU of its own if the kind is ``cuda``, fit on the cluster at a time.

    Raises:
        ConfigurationError: if not even one does.
    """
    fitting = [int(node.cpus // threads) for node in nodes]
    if kind == "cuda":
        fitting = [min(room, int(node.gpus)) for room, node in zip(fitting, nodes, strict=True)]
    if not any(fitting):
        with_gpu = " and a GPU" if kind == "cuda" else ""
        raise ConfigurationError(
            f"--threads {threads}: no machine of the Ray cluster offers so many CPUs{with_gpu}. Present: {_present(nodes)}"
        )
    return sum(fitting)


def device_of_any(nodes: Sequence[ClusterNode], kind: Literal["cpu", "cuda"]) -> Device:
    """The largest device of the kind, for all of them: with the names of all models, and whatever it is busy with left out."""
    devices = [device for node in nodes for device in node.machine.devices if device.kind == kind]
    largest = max(devices, key=lambda device: device.memory_bytes or 0)
    names = ", ".join(sorted({device.name for device in devices}))
    return Device(kind=kind, name=names, memory_bytes=largest.memory_bytes, memory_shared=largest.memory_shared)


def _present(nodes: Sequence[ClusterNode]) -> str:
    return "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes) or "no machine"


def _probe(node_ids: Sequence[str]) -> list[dict[str, Any] | None]:
    """What each node tells about itself, in their order; ``missing`` where it cannot, None if it is no longer there."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def describe() -> dict[str, Any]:
        """Sent as it is, not by its name: there may be no dnlbench where it runs. Plain data, for the same reason."""
        import os
        import socket

        hidden = os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from whoever asks for none
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
        raise EngineError(f"Ray node {node_id} did not tell within {PROBE_S:.0f} s what machine it is") from None
    except (exceptions.TaskUnschedulableError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
        return None  # Ray lists a machine that was lost for a while
    except exceptions.RayError as error:
        reason = str(error).splitlines()[-1]
        raise EngineError(f"Ray node {node_id} could not tell what machine it is: {reason}") from error
    return answer


def _require_equal(offers: Sequence[dict[str, Any]], descriptions: Sequence[dict[str, Any]]) -> None:
    """Results must not depend on where they were computed, as far as that can be told."""
    wrong = [
        f"{description['host']} ({offer['NodeManagerAddress']}) {why}"
        for offer, description in zip(offers, descriptions, strict=True)
        for why in _differences(description)
    ]
    if wrong:
        raise ConfigurationError(
            f"not every machine of the Ray cluster has this dnlbench with this torch: {'; '.join(dict.fromkeys(wrong))}. "
            "Install the same versions on all of them, or put the environment on storage that they share, and start "
            "`ray start` from it"
        )


def _differences(description: dict[str, Any]) -> Iterator[str]:
    if "missing" in description:
        yield f"cannot import dnlbench ({description['missing']})"
        return
    if description["source"] != source_hash():
        yield f"has other source files of dnlbench (hash {description['source']}, here {source_hash()})"
    if description["machine"]["torch"] != torch_version():
        yield f"has torch {description['machine']['torch']}, here it is {torch_version()}"


def given_name(offer: Mapping[str, Any]) -> str | None:
    """What a node, as Ray lists it, was started with; None if nobody gave it a name."""
    name = offer.get("NodeName")
    return str(name) if name and name != offer["NodeManagerAddress"] else None  # Ray takes the address instead


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
    """The name of the machine that this process is on, which has joined the cluster since the others got theirs."""
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
