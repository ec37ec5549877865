"""Measurements of training speed in child processes; see `dnlbench.runners.training.probe` for the child's end."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, cast

from dnlbench.errors import EngineError
from dnlbench.executor.processes import JsonLinesProcess, start_server, tail
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.studies import Point
from dnlbench.studies.base import InputShape
from dnlbench.studies.training import TrainingSpec
from dnlbench.studies.training.spec import DataSettings

MEASURE_S = 1.5
"""Duration of the measurement for each pack size."""
TIMEOUT_S = 120.0
"""Maximum duration of a trial, including the start of its processes."""
FUNCTION = "dnlbench.runners.training.probe:probe"
_ASSUMED_IMAGE_SIZE, _ASSUMED_CLASSES = 32, 10


def measure(
    plan: Plan,
    point: Point,
    slots: Sequence[Slot],
    pack_sizes: Sequence[int],
    *,
    seconds: float = MEASURE_S,
    timeout_s: float = TIMEOUT_S,
) -> Mapping[int, float]:
    """Measure samples per second by pack size, summed over all slots while each of them trains.

    The data are synthetic, so that none need to be read. Each slot has its own process. Each pack size, in ascending order,
    takes about ``seconds``.

    Returns:
        The measured pack sizes; those that failed are missing.

    Raises:
        EngineError: if a process exits before it has measured, or if the trial takes longer than ``timeout_s``. The message
            contains the last lines that the process printed.
    """
    with ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile())
        children = [stack.enter_context(start_server(FUNCTION, slot, output)) for slot in slots]
        replies = [child.messages() for child in children]
        for child, slot in zip(children, slots, strict=True):
            child.send(_task(plan, point, slot, pack_sizes, seconds))
        limit = threading.Timer(timeout_s, _kill, [children])
        stack.callback(limit.cancel)
        limit.start()
        _next_replies(replies, output)
        for child in children:
            child.send("go")
        rates = _next_replies(replies, output)
    measured = [size for size in pack_sizes if all(str(size) in rate for rate in rates)]
    return {size: sum(rate[str(size)] for rate in rates) for size in measured}


def image_shape(data: DataSettings) -> tuple[InputShape, int]:
    """Return shape and number of classes of the data; a default if they are not known before the data are read."""
    image_size = data.image_size or _ASSUMED_IMAGE_SIZE
    return data.known_input or ((3, image_size, image_size), _ASSUMED_CLASSES)


def _kill(children: Sequence[JsonLinesProcess]) -> None:
    for child in children:
        child.kill()


def _next_replies(replies: Sequence[Iterator[dict[str, Any]]], output: IO[bytes]) -> list[dict[str, Any]]:
    """Return the next message of each process."""
    messages = [next(reply, {"refused": "exited"}) for reply in replies]
    if any("refused" in message for message in messages):
        raise EngineError(f"the trial ended before it had a result, or took too long: {tail(output)}")
    return messages


def _task(plan: Plan, point: Point, slot: Slot, pack_sizes: Sequence[int], seconds: float) -> dict[str, object]:
    spec = cast(TrainingSpec, plan.spec)
    (channels, image_size, _), classes = image_shape(spec.data)
    synthetic = DataSettings(
        dataset="synthetic", channels=channels, image_size=image_size, classes=classes, samples=spec.train.batch_size
    )
    return {
        "spec": spec.model_copy(update={"data": synthetic}).model_dump(mode="json"),
        "network": point.network,
        "depth": point.depth,
        "slot": slot.model_dump(mode="json"),
        "pack_sizes": list(pack_sizes),
        "seconds": seconds,
    }
