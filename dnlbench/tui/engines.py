"""Starting engines from a screen: each is a process of its own that outlives it."""

from __future__ import annotations

import json
from pathlib import Path

from dnlbench.launch import launch_engine
from dnlbench.store import RunDir


def start_sweep(spec: str, folder: Path) -> RunDir:
    """Has a sweep carried out headless, unless it is under way.

    Args:
        spec: a preset's name or a TOML file.
        folder: below which ``.dnlbench`` and ``profiles`` are.

    Returns:
        Its run directory, once the engine's workers are ready.

    Raises:
        DnlbenchError: if it cannot be carried out, with the engine's own words.
    """
    from dnlbench.plan import Plan
    from dnlbench.spec import read_spec
    from dnlbench.sweep import Request, find_run_dir

    run_dir = RunDir(folder / find_run_dir(Request(plan=Plan(read_spec(spec))), folder=folder))
    if run_dir.engine() is None:  # else it is under way already, and to be followed
        launch_engine(["run", spec, "--run-dir", str(run_dir.root), "--quiet"], run_dir)
    return run_dir


def go_on(run_dir: RunDir) -> None:
    """Has what a run directory still lacks done, in the way it was begun."""
    import tomli_w

    from dnlbench.files import write_atomically

    plan = run_dir.read_plan()
    spec = json.loads(plan.spec.model_dump_json(exclude_none=True))
    path = run_dir.root / "spec.toml"
    write_atomically(path, tomli_w.dumps(spec).encode())
    launch_engine(
        ["run", str(path), "--resume", "--run-dir", str(run_dir.root), *_as_before(run_dir), "--quiet"], run_dir
    )


def _as_before(run_dir: RunDir) -> list[str]:
    """Pack, device, threads, and the jobs of the engine that had most of them: one that has few runs left takes no more."""
    from dnlbench.events import CLUSTER, EngineStarted, device_of

    started = [event for event in run_dir.read_journal() if isinstance(event, EngineStarted)]
    if not started:
        return []
    slots = max((event.slots for event in started), key=len)
    devices = list(dict.fromkeys(map(device_of, slots)))
    execution = run_dir.read_execution()
    numbers = ",".join(device.partition(":")[2] for device in devices)
    device = devices[0] if execution.device_kind != "cuda" else f"cuda:{numbers}"
    if devices[0] == CLUSTER:
        device = execution.device_kind
    elsewhere = {"--executor": CLUSTER} if devices[0] == CLUSTER else {}
    same = {
        **elsewhere,
        "--device": device,
        "--jobs": len(slots),
        "--threads": execution.threads,
        "--pack": execution.pack_size,
    }
    return [str(part) for option in same.items() for part in option]
