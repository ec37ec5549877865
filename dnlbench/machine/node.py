"""Which machine of a cluster a run was carried out on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dnlbench.machine.facts import Machine


class Node(BaseModel):
    """A machine of a cluster, as far as results depend on it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What it calls itself."""
    cpu: str
    cores: int
    memory_bytes: int
    python: str
    torch: str
    fingerprint: str
    """As of `Machine`: equal where timings may be held against each other."""


def node_of(machine: Machine, name: str) -> Node:
    """This machine as one of a cluster's."""
    return Node(name=name, **machine.model_dump(include=set(Node.model_fields)))
