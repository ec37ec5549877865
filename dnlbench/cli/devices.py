"""``dnlbench devices``."""

from __future__ import annotations

from dnlbench.cli.output import guarded, show


@guarded
def devices() -> None:
    """List the devices for runs.

    The first kind in the list is what --device auto takes.
    """
    from dnlbench import units
    from dnlbench.machine import list_devices, usable_cores
    from dnlbench.report.grid import Column, Grid

    rows = []
    for device in list_devices():
        cores = f"{usable_cores()} cores" if device.kind == "cpu" else ""
        rows.append(
            [
                device.label,
                device.name,
                units.size(device.memory_used_bytes),
                units.size(device.memory_bytes),
                cores or device.uuid or "",
            ]
        )
    columns = [
        Column(head="--device"),
        Column(head="name"),
        Column(head="memory in use", figures=True),
        Column(head="of", figures=True),
        Column(head=""),
    ]
    show(Grid(title="Devices", columns=columns, rows=rows))
