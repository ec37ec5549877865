"""Measure training speed in a child process. `dnlbench.executor.probe` is the parent's side.

The request follows the protocol of `dnlbench.executor.processes`; training is the same as in a worker::

    {"spec": {…}, "network": "densenet", "depth": 8, "slot": {…}, "pack_sizes": [1, 2], "seconds": 1.5}

The process sends ``ready`` when it can start. After the next message it measures, and replies with samples per second by pack
size: ``{"1": 512.0, "2": 700.5}``. If a pack size fails, typically because memory runs out, larger ones are skipped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.runners.training.run import TrainingRunner
from dnlbench.studies import Point
from dnlbench.studies.training import TrainingSpec

FIRST_STEPS = 3
"""Steps that are timed first, to compute how many steps fit into the available time."""
MOST_STEPS = 1000

StepSeconds = Callable[[int, int], float]
"""Takes a pack size and a number of steps, and returns the median seconds of a step."""


def probe(task: Mapping[str, Any]) -> Iterator[Mapping[Any, Any]]:
    """Serve a request; see the module docstring."""
    spec = TrainingSpec.model_validate_json(json.dumps(task["spec"]), strict=True)
    point = Point(network=task["network"], depth=task["depth"])
    runner = TrainingRunner(Plan(spec), Slot.model_validate(task["slot"]))
    runs = [run for run in runner.plan.runs if run.point == point]
    samples = min(spec.train.batch_size, len(runner.data.training))
    yield {"ready": True}

    def step_seconds(pack_size: int, steps: int) -> float:
        return runner.setup.step_seconds(runs[:pack_size], steps)

    yield measure(step_seconds, task["pack_sizes"], samples, task["seconds"])


def measure(step_seconds: StepSeconds, pack_sizes: Sequence[int], samples: int, seconds: float) -> dict[int, float]:
    """Measure samples per second for each pack size, in about ``seconds`` each, and stop at the first failure."""
    rates = {}
    for size in pack_sizes:
        try:
            step = step_seconds(size, FIRST_STEPS)
            steps = min(MOST_STEPS, int(seconds / step))
            if steps > FIRST_STEPS:
                step = step_seconds(size, steps)
        except Exception as error:
            print(f"pack of {size}: {type(error).__name__}: {error}", file=sys.stderr)
            break
        rates[size] = size * samples / step
    return rates
