"""Settles by a measurement how a sweep is carried out, where that is left open and worth the time."""

from __future__ import annotations

from pathlib import Path

from dnlbench.executor.probe import measure
from dnlbench.executor.remembered import Choice, Measured, Remembered
from dnlbench.executor.tuning import Measure, Question, answer, describe, is_worth_measuring
from dnlbench.machine import read_machine
from dnlbench.narrate import Narrator, Observer
from dnlbench.sweep.place import as_recorded, place_of, recall, remembered_as, slots_of, with_choice
from dnlbench.sweep.request import Request


def settle(
    request: Request, observer: Observer | None = None, *, measure: Measure = measure, folder: Path = Path()
) -> Request:
    """The request with nothing of how it is carried out left open, if what is open is worth a measurement.

    Args:
        request: one that is to be carried out.
        observer: is told.
        measure: does it.
        folder: below which ``.dnlbench`` is.

    Raises:
        ConfigurationError: if it cannot be carried out as asked.
    """
    if request.executor == "ray":
        return request  # every slot has the machine that it happens to get
    machine = read_machine()
    request = as_recorded(request, machine)
    place = place_of(request, machine)
    known, question = recall(request, machine, folder)
    memory, name = Remembered(), remembered_as(request, machine)
    if known is not None:
        if question is not None:
            memory.put(known, name)
        return with_choice(request, known.choice)
    worthwhile = question is not None and not request.resume and is_worth_measuring(request.plan, place.slots)
    if question is None or not worthwhile or not memory.can_be_written():
        return request
    measured = _measure(question, measure, observer)
    if measured is not None and memory.put(measured, name, question.key):
        return with_choice(request, measured.choice)
    jobs = len(slots_of(request, machine))
    return with_choice(request, Choice(jobs=jobs, threads=place.slots[0].threads, pack_size=place.pack_size))


def settled_options(request: Request, settled: Request) -> list[str]:
    """Of ``dnlbench run``, for what `settle` has settled."""
    pairs = {
        "--jobs": (request.jobs, settled.jobs),
        "--threads": (request.threads, settled.threads),
        "--pack": (request.pack, settled.pack),
    }
    changed = {option: after for option, (before, after) in pairs.items() if before != after}
    return [text for option, value in changed.items() for text in (option, str(value))]


def _measure(question: Question, measure: Measure, observer: Observer | None) -> Measured | None:
    narrator = Narrator(observer) if observer is not None else None

    def tell(news: str) -> None:
        if narrator is not None:
            narrator.tell(lambda observer: observer.deciding(news))

    try:
        name = question.plan.spec.name
        tell(f"{name}: measuring once how its runs are best placed on this machine, which takes some 20 seconds …")
        answered = answer(question, measure)
        tell(describe(answered) if answered else "that could not be measured; the defaults stand")
    finally:
        if narrator is not None:
            narrator.end()
    return answered
