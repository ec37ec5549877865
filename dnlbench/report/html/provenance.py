"""The sweep, the machine, the software and the settings of a profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnlbench import units
from dnlbench.profiles import Profile
from dnlbench.report.html.markup import Markup
from dnlbench.report.html.tables import property_table
from dnlbench.report.runs import machine_label, node_properties


def origin(profile: Profile, title: str) -> Markup:
    """Return a table of the origin of a profile."""
    machine, code, data = profile.machine, profile.code, profile.data
    commit = f" at {code.git[:12]}{', with uncommitted changes' if code.dirty else ''}" if code.git else ""
    ok = sum(run.status == "ok" for run in profile.runs)
    rows = [
        ("sweep", f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC, {profile.state}"),
        ("question", profile.declared.title),
        ("networks", ", ".join(dict.fromkeys(run.series for run in profile.runs))),
        ("depths", ", ".join(map(str, sorted({run.depth for run in profile.runs})))),
        ("runs", f"{ok} of {len(profile.runs)} succeeded; {_seeds(profile)}"),
        ("data", f"{data.name}, {data.samples} samples, sha256 {data.sha256[:12]}"),
        ("devices", _devices(profile)),
        *node_properties(profile),
        (
            machine_label(profile),
            f"{machine.cpu}, {machine.cores} cores, {units.size(machine.memory_bytes)}; {machine.os}",
        ),
        ("software", f"Python {machine.python}, torch {machine.torch}, dnlbench {code.version}{commit}"),
        ("spec", profile.spec_hash),
    ]
    return property_table(title, rows)


def summary_sentence(profile: Profile) -> str:
    """Summarize runs, data and devices in a sentence."""
    ok = sum(run.status == "ok" for run in profile.runs)
    networks = ", ".join(dict.fromkeys(run.series for run in profile.runs))
    depths = ", ".join(map(str, sorted({run.depth for run in profile.runs})))
    return (
        f"{ok} of {len(profile.runs)} runs succeeded: {networks} at L = {depths} with {_seeds(profile)}, "
        f"on {profile.data.name} ({profile.data.samples} samples); {_devices(profile)}."
    )


def settings(profile: Profile) -> Markup:
    """Return the full spec with dotted keys."""
    return property_table(f"Spec of {profile.name}", [(key, _value(value)) for key, value in _flat(profile.spec)])


def _seeds(profile: Profile) -> str:
    seeds = sorted({run.seed for run in profile.runs})
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"


def _devices(profile: Profile) -> str:
    """Return the devices of the runs with their sharing; without any, the devices of the machine."""
    devices = dict.fromkeys(_execution(run) for run in profile.runs if run.device)
    return "; ".join(devices) or ", ".join(device.name for device in profile.machine.devices)


def _execution(run: Any) -> str:
    parts = [
        run.device_name or run.device,
        f"{run.threads} thread{'' if run.threads == 1 else 's'}" if run.threads else "",
        f"{run.jobs} parallel runs" if run.jobs and run.jobs > 1 else "",
        f"packs of {run.pack_size}" if run.pack_size and run.pack_size > 1 else "",
        "shared with other processes" if run.shared_device else "",
    ]
    return ", ".join(filter(None, parts))


def _flat(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(table, dict) and table:
        for key, value in table.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, table


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {None: "none", True: "yes", False: "no"}.get(value, str(value))
        if not isinstance(value, dict)
        else units.NOTHING
    )
