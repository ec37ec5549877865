"""A trial of training speed, in a process of its own; `dnlbench.executor.probe` is the other side.

It is asked as `dnlbench.executor.processes` asks, and trains as a worker does::

    {"spec": {…}, "network": "densenet", "depth": 8, "slot": {…}, "pack_sizes": [1, 2], "seconds": 1.5}

It says ``ready`` once it could begin. At the next message it measures, and answers with samples per second by pack size:
``{"1": 512.0, "2": 700.5}``. Pack sizes after one that fails, for want of memory as a rule, are left out.
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
"""From which it is told how many steps there is time for."""
MOST_STEPS = 1000

StepSeconds = Callable[[int, int], float]
"""Median seconds of a step of a pack of that size, over so many steps."""


def probe(task: Mapping[str, Any]) -> Iterator[Mapping[Any, Any]]:
    """See the head of this file."""
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
    """Samples per second by growing pack size, each in about ``seconds``; the first that fails ends it."""
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
