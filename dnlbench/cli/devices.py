"""``dnlbench devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnlbench.cli.output import guarded, show, write

if TYPE_CHECKING:
    from dnlbench.machine import Device

UUID_LENGTH = 12
"""Characters of a UUID that are shown: enough for CUDA_VISIBLE_DEVICES, few enough for 80 columns."""


@guarded
def devices() -> None:
    """List the devices for runs, which of them are busy with other work, and which cannot be used.

    The first kind in the list is what --device auto takes. The beginning of a GPU's
    UUID, as it is shown, names it in CUDA_VISIBLE_DEVICES. A GPU that shares the
    machine's memory shows it as shared.
    """
    from dnlbench import units
    from dnlbench.machine import find_devices
    from dnlbench.report.grid import Column, Grid

    found = find_devices()
    rows = [
        [
            device.label,
            device.name,
            units.size(device.memory_used_bytes),
            units.size(device.memory_bytes) + (" shared" if device.memory_shared else ""),
            _busy(device),
            _identity(device),
        ]
        for device in found.usable
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
    if found.unusable:
        write("")
        reasons = [[device.name, device.reason] for device in found.unusable]
        show(Grid(title="Not usable", columns=[Column(head="device"), Column(head="reason")], rows=reasons))


def _busy(device: Device) -> str:
    """``yes: 2 processes, 93 %``, ``no: 3 %``; how much memory is in use stands in a column of its own."""
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
