"""Trials of training speed, from outside; `dnlbench.runners.training.probe` is the other side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import cast

from dnlbench.executor.child import Child
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.studies import Point
from dnlbench.studies.base import InputShape
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import DataSettings

SECONDS = 1.5
"""Of measuring, for each pack size."""
LIMIT_S = 120.0
"""How long a trial may take, start included."""
MODULE = "dnlbench.runners.training.probe"
_ASSUMED_SIDE, _ASSUMED_CLASSES = 32, 10


def measure(
    plan: Plan,
    point: Point,
    slots: Sequence[Slot],
    pack_sizes: Sequence[int],
    *,
    seconds: float = SECONDS,
    limit_s: float = LIMIT_S,
) -> Mapping[int, float]:
    """Samples per second by pack size, of all slots together when each of them trains.

    The data are synthetic, so that none need be read.

    Args:
        plan: of a training sweep.
        point: what is trained.
        slots: one process is started for each.
        pack_sizes: growing.
        seconds: for each pack size, about.
        limit_s: for everything.

    Returns:
        Empty if it cannot be measured, whatever the cause; without the pack sizes that failed.
    """
    deadline = time.monotonic() + limit_s
    with contextlib.ExitStack() as stack:
        try:
            probes = [stack.enter_context(_Probe(slot, deadline)) for slot in slots]
            for probe in probes:
                probe.send(_task(plan, point, probe.slot, pack_sizes, seconds))
            for probe in probes:
                probe.hear()
            for probe in probes:
                probe.send("go")
            rates = [json.loads(probe.hear()) for probe in probes]
        except (OSError, ValueError):
            return {}
    measured = [size for size in pack_sizes if all(str(size) in rate for rate in rates)]
    return {size: sum(rate[str(size)] for rate in rates) for size in measured}


def image_of(data: DataSettings) -> tuple[InputShape, int]:
    """Shape and classes of the data; a guess as long as nobody has read them."""
    side = data.image_size or _ASSUMED_SIDE
    return data.known_input or ((3, side, side), _ASSUMED_CLASSES)


def _task(plan: Plan, point: Point, slot: Slot, pack_sizes: Sequence[int], seconds: float) -> dict[str, object]:
    spec = cast(TrainingSpec, plan.spec)
    (channels, side, _), classes = image_of(spec.data)
    synthetic = DataSettings(
        dataset="synthetic", channels=channels, image_size=side, classes=classes, samples=spec.train.batch_size
    )
    return {
        "spec": spec.model_copy(update={"data": synthetic}).model_dump(mode="json"),
        "network": point.network,
        "depth": point.depth,
        "slot": slot.model_dump(mode="json"),
        "pack_sizes": list(pack_sizes),
        "seconds": seconds,
    }


class _Probe(Child):
    """One process. It is gone when the context is left."""

    def __init__(self, slot: Slot, deadline: float) -> None:
        super().__init__(MODULE, slot=slot, log=subprocess.DEVNULL)
        self.slot = slot
        self._deadline = deadline
        self._heard = b""

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def hear(self) -> str:
        """The next line.

        Raises:
            OSError: if it does not come in time, or the process has ended.
        """
        while b"\n" not in self._heard:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self.replies], [], [], left)[0]:
                raise TimeoutError(f"the trial on {self.slot.name} takes too long")
            content = os.read(self.replies, 1 << 16)
            if not content:
                raise ChildProcessError(f"the trial on {self.slot.name} ended before it could answer")
            self._heard += content
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()
