"""Where on the machine a run is carried out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dnlbench.machine.device import Device
from dnlbench.machine.node import Node


class Slot(BaseModel):
    """A place where one run at a time is carried out, by one worker process."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Such as ``cpu/0`` or ``cuda:1/0``: the device and the place on it."""
    device: Device
    threads: int
    """Threads of one run's CPU work."""
    jobs: int = 1
    """Slots that use the device side by side, this one included."""
    shared: bool = False
    """Whether they share the device, or more CPU cores than there are, so that a throughput is not that of a run alone."""
    node: Node | None = None
    """The machine of a cluster that the place is on; None on this machine, and where that is not known yet."""
