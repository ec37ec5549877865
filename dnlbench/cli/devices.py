"""``dnlbench devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnlbench.cli.output import guarded, show, write

if TYPE_CHECKING:
    from dnlbench.machine import Device

UUID_LENGTH = 12
"""Number of characters shown of a UUID: enough for CUDA_VISIBLE_DEVICES, few enough for 80 columns."""


@guarded
def devices() -> None:
    """List the devices of this machine and their load.

    Unusable devices are listed with the reason.     --device auto selects the first kind in the list. CUDA_VISIBLE_DEVICES
    accepts the start of a UUID as printed. A GPU without its own memory is marked as shared.
    """
    from dnlbench import units
    from dnlbench.machine import find_devices
    from dnlbench.report.grid import Column, Grid

    inventory = find_devices()
    rows = [
        [
            device.label,
            device.name,
            units.size(device.memory_used_bytes),
            units.size(device.memory_bytes) + (" shared" if device.memory_shared else ""),
            _busy(device),
            _identity(device),
        ]
        for device in inventory.usable
    ]
    columns = [
        Column(head="--device", no_wrap=True),
        Column(head="name"),
        Column(head="memory in use", numeric=True),
        Column(head="of", numeric=True),
        Column(head="busy"),
        Column(head="identity", no_wrap=True),
    ]
    show(Grid(title="Devices", columns=columns, rows=rows))
    if inventory.unusable:
        write("")
        reasons = [[device.name, device.reason] for device in inventory.unusable]
        show(Grid(title="Not usable", columns=[Column(head="device"), Column(head="reason")], rows=reasons))


def _busy(device: Device) -> str:
    """Format the load, such as ``yes: 2 processes, 93 %`` or ``no: 3 %``. Memory has a separate column."""
    from dnlbench import units

    known = []
    if device.processes:
        known.append(f"{device.processes} process{'es' if device.processes > 1 else ''}")
    if device.utilisation is not None:
        known.append(units.percent(round(device.utilisation, 2)))
    if device.busy is None and not known and device.memory_used_bytes is None:
        return units.NOTHING
    answer = "no" if device.busy is None else "yes"
    return f"{answer}: {', '.join(known)}" if known else answer


def _identity(device: Device) -> str:
    from dnlbench.machine import usable_cores

    return f"{usable_cores()} cores" if device.kind == "cpu" else (device.uuid or "")[:UUID_LENGTH]
