"""What the engine costs: the share of the slots' time in which nothing is trained, on a sweep of many short runs.

``python tests/benchmarks/engine_overhead.py``, on a machine that does nothing else. With ``n`` slots between the first lease
and the last end, a time ``T``, and ``t`` the sum over the runs, the overhead is ``(n T − t) / (n T)``. It is printed for two
meanings of a run's time: the clock of its training steps alone, and the whole of it from its first event to its last, with
building, warm-up and checkpoints.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dnlbench.events import RunHistory, RunLeased
from dnlbench.plan import Plan
from dnlbench.store import RunDir

SPEC = """
name = "overhead"
[sweep]
networks = ["densenet"]
depths = [2, 3]
seeds = 20
[train]
epochs = {epochs}
"""
SLOTS = 2
EPOCHS = 12
"""Of 1,500 digits: about two seconds for a run on one core of a server."""


def main() -> None:
    """Runs the sweep a few times and prints each."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            run_dir = _sweep(Path(folder))
            plan = run_dir.read_plan()
            _tell(run_dir, plan, [run_dir.read_history(run) for run in plan.runs])


def _sweep(folder: Path) -> RunDir:
    spec = folder / "overhead.toml"
    spec.write_text(SPEC.format(epochs=EPOCHS))
    options = ["--device", "cpu", "--jobs", str(SLOTS), "--threads", "1", "--run-dir", "rd", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "dnlbench", "run", spec.name, *options],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return RunDir(folder / "rd")


def _tell(run_dir: RunDir, plan: Plan, histories: Sequence[RunHistory]) -> None:
    leases = [event for event in run_dir.read_journal() if isinstance(event, RunLeased)]
    ends = [history.ended.time for history in histories if history.ended is not None]
    assert len(ends) == len(leases) == len(plan.runs), "each run is done once"
    slot_seconds = SLOTS * (max(ends) - min(lease.time for lease in leases))
    trained = sum(epoch.seconds for history in histories for epoch in history.epochs)
    whole = sum(end - history.started.time for history, end in zip(histories, ends, strict=True) if history.started)
    print(
        f"{len(leases)} runs of {whole / len(leases):.2f} s on {SLOTS} slots, {slot_seconds:.1f} slot-seconds: "
        f"{1 - trained / slot_seconds:.2%} outside of training steps, {1 - whole / slot_seconds:.2%} outside of runs"
    )


if __name__ == "__main__":
    main()
