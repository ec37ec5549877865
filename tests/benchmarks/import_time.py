"""Measure how long the import of dnlbench takes, over the start of Python alone: python tests/benchmarks/import_time.py."""

from __future__ import annotations

import subprocess
import sys
import time

REPEATS = 10
STATEMENTS = {
    "Python alone": "pass",
    "import dnlbench": "import dnlbench",
    "dnlbench.run": "import dnlbench; dnlbench.run",
    "import torch": "import torch",
}


def seconds(statement: str) -> float:
    """Return the shortest time of a process that executes a statement."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    alone = seconds(STATEMENTS["Python alone"])
    for name, statement in STATEMENTS.items():
        took = seconds(statement)
        print(f"{name:<18} {took * 1000:6.0f} ms, {(took - alone) * 1000:+6.0f} ms, × {took / alone:.2f}")
