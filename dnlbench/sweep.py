"""The conductor: one sweep from its plan to its saved profile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dnlbench.errors import ConfigurationError, DnlbenchError, EngineError, RunDirError
from dnlbench.events import EngineEnded, EngineStarted, Prepared
from dnlbench.executor.base import Executor
from dnlbench.executor.capacity import check_memory
from dnlbench.executor.inline import InlineExecutor
from dnlbench.executor.local import LocalExecutor
from dnlbench.executor.packing import count_packs, resolve_pack_size
from dnlbench.executor.probe import measure
from dnlbench.executor.remembered import Choice, Measured, Remembered
from dnlbench.executor.scheduler import Scheduler
from dnlbench.executor.slots import choose_slots
from dnlbench.executor.tuning import (
    Measure,
    Question,
    answer,
    can_be_tuned,
    describe,
    find_question,
    is_worth_measuring,
    sweep_key,
)
from dnlbench.executor.weights import keep_weights, weights_folder
from dnlbench.machine import Machine, Slot, read_code, read_machine, source_hash, torch_version
from dnlbench.narrate import Narrator, Observer, Outset
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, reduce_run_dir, save_profile
from dnlbench.store import Execution, RunDir
from dnlbench.watch import Watcher

ExecutorName = Literal["local", "inline"]
EndReason = Literal["done", "interrupted", "error"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A plan and how it is to be carried out."""

    plan: Plan
    out: Path | None = None
    """Where the profile goes; None: a new file below ``profiles/``."""
    run_dir: Path | None = None
    """None: one folder for each spec and way to carry it out, below ``.dnlbench/runs/``."""
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    pack: int | None = None
    """Runs of a point that train together, at most; None: what pays, or what a run directory was begun with."""
    executor: ExecutorName = "local"
    checkpoint_s: float = 30.0
    """A checkpoint is kept after that many seconds of an epoch at the latest, beside the one after each epoch."""
    resume: bool = False
    """Insist that there is something to go on with."""
    keep_weights: bool = False
    """Whether the final weights are kept in a folder beside the profile."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sweep is carried out."""

    machine: Machine
    slots: tuple[Slot, ...]
    pack_size: int
    """Runs that train together on a slot, at most."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a sweep ended."""

    profile: Profile | None
    """None if it was interrupted before the data were loaded, and so has nothing to save."""
    path: Path | None
    run_dir: Path
    interrupted: bool


def run_sweep(request: Request, observer: Observer) -> Result:
    """Carries out what a run directory still lacks and saves the profile.

    Raises:
        ConfigurationError: if the plan cannot be carried out as asked; nothing was started then.
        EngineError: if the workers cannot be started.
    """
    plan = request.plan
    request = settle(request, observer)
    place = choose_place(request)
    run_dir = RunDir(find_run_dir(request))
    _check_places(request, run_dir)
    with run_dir.locked():
        earlier = run_dir.begin(plan, _execution(place))
        try:
            reason = _carry_out(request, run_dir, place, observer)
        except (ConfigurationError, EngineError):
            if earlier is not None:  # the extension that was refused is not to stand in its place
                run_dir.restore(earlier)
            raise
        return _save(request, run_dir, interrupted=reason == "interrupted")


def find_run_dir(request: Request) -> Path:
    """Where a sweep lives: as asked, or one folder for all sweeps of a name that can share their runs."""
    if request.run_dir is not None:
        return request.run_dir
    machine = read_machine()
    recalled = _recalled(request, machine)
    return _default_root(recalled, _place(recalled, machine))


def choose_place(request: Request, machine: Machine | None = None) -> Place:
    """Where the runs of a request are carried out, and how many of them together.

    What is left open is as in a run directory that is gone on with, as it was measured earlier, or a default; nothing is
    measured here.

    Raises:
        ConfigurationError: if that cannot be done as asked.
    """
    machine = machine or read_machine()
    return _place(_recalled(_as_recorded(request, machine), machine), machine)


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
    machine = read_machine()
    request = _as_recorded(request, machine)
    place = _place(request, machine)
    known, question = _recall(request, machine, folder)
    memory, name = Remembered(), _sweep_key(request, machine)
    if known is not None:
        if question is not None:
            memory.put(known, name)
        return _with(request, known.choice)
    worthwhile = question is not None and not request.resume and is_worth_measuring(request.plan, place.slots)
    if question is None or not worthwhile or not memory.can_be_written():
        return request
    measured = _measure(question, measure, observer)
    if measured is not None and memory.put(measured, name, question.key):
        return _with(request, measured.choice)
    jobs = len(_choose_slots(request, machine))
    return _with(request, Choice(jobs=jobs, threads=place.slots[0].threads, pack_size=place.pack_size))


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


def _recall(request: Request, machine: Machine, folder: Path = Path()) -> tuple[Measured | None, Question | None]:
    """What was measured earlier: for such a sweep, or else for another one of the same speed; and what that did not answer.

    A sweep that was begun with the defaults goes on with them.
    """
    if not (_place_is_open(request, machine) or _pack_is_open(request)):
        return None, None
    memory = Remembered()
    known = memory.get(_sweep_key(request, machine))
    if known is not None:
        return known, None
    by_default = folder / _default_root(request, _place(request, machine))
    begun = request.run_dir is None and RunDir(by_default).sweep_path.exists()
    question = None if begun else _question(request, machine)
    return (memory.get(question.key) if question else None), question


def _recalled(request: Request, machine: Machine) -> Request:
    known, _ = _recall(request, machine)
    return _with(request, known.choice) if known else request


def _sweep_key(request: Request, machine: Machine) -> str:
    asked = (request.jobs, request.threads, request.pack)
    return sweep_key(request.plan, machine, _choose_slots(request, machine), asked)


def _question(request: Request, machine: Machine) -> Question | None:
    placements = [_choose_slots(request, machine)]
    if _place_is_open(request, machine):
        placements.append(_choose_slots(replace(request, jobs=1, threads=machine.cores), machine))
    return find_question(request.plan, machine, placements, request.pack)


def _place_is_open(request: Request, machine: Machine) -> bool:
    return (
        can_be_tuned(request.plan)
        and request.executor == "local"
        and request.jobs is None
        and request.threads is None
        and machine.cores > 1
        and _choose_slots(request, machine)[0].device.kind == "cpu"
    )


def _pack_is_open(request: Request) -> bool:
    return can_be_tuned(request.plan) and request.executor == "local" and request.pack is None


def _with(request: Request, choice: Choice) -> Request:
    """What the user has fixed stays."""
    if request.jobs is None and request.threads is None:
        request = replace(request, jobs=choice.jobs, threads=choice.threads)
    return replace(request, pack=request.pack if request.pack is not None else choice.pack_size)


def _as_recorded(request: Request, machine: Machine) -> Request:
    """What is left open is as it is in a run directory that is gone on with."""
    if request.run_dir is None:
        return request
    try:
        recorded = RunDir(request.run_dir).read_execution()
    except RunDirError:
        return request
    if request.pack is None:
        request = replace(request, pack=recorded.pack_size)
    on_cpu = recorded.device_kind == _choose_slots(request, machine)[0].device.kind == "cpu"
    if on_cpu and request.jobs is None and request.threads is None:
        request = replace(request, threads=recorded.threads)
    return request


def _place(request: Request, machine: Machine) -> Place:
    pack_size = resolve_pack_size(request.plan, _choose_slots(request, machine), asked=request.pack)
    slots = _choose_slots(request, machine, packs=count_packs(request.plan.runs, pack_size))
    return Place(machine=machine, slots=slots, pack_size=pack_size)


def _default_root(request: Request, place: Place) -> Path:
    jobs = len(_choose_slots(request, place.machine))  # not fewer if the sweep happens to have few runs
    return RunDir.default_root(request.plan, _execution(place), jobs=jobs)


def _choose_slots(request: Request, machine: Machine, packs: int | None = None) -> tuple[Slot, ...]:
    jobs = 1 if request.executor == "inline" and request.jobs is None else request.jobs
    return choose_slots(
        machine.devices, machine.cores, device=request.device, jobs=jobs, threads=request.threads, tasks=packs
    )


def _execution(place: Place) -> Execution:
    return Execution(
        device_kind=place.slots[0].device.kind,
        threads=place.slots[0].threads,
        pack_size=place.pack_size,
        torch=torch_version(),
        machine=place.machine.fingerprint,
        source=source_hash(),
    )


def _check_places(request: Request, run_dir: RunDir) -> None:
    """Finds out before hours of work, not after, that results cannot be put where they belong."""
    if request.keep_weights and not request.plan.study.has_epochs:
        raise ConfigurationError(
            f"--keep-weights: runs of the study {request.plan.study.name!r} have no weights to keep"
        )
    if request.resume and not run_dir.sweep_path.exists():
        raise RunDirError(
            f"--resume: {run_dir.root} holds no sweep to go on with. Run without --resume, or name its --run-dir"
        )
    folder = (request.out or Path("profiles") / "x").resolve().parent
    if request.out is not None and request.out.is_dir():
        raise ConfigurationError(f"--out {request.out}: is a folder; name a file in it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"profiles cannot be saved in {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"profiles cannot be saved in {folder}: no permission to write there")


def _carry_out(request: Request, run_dir: RunDir, place: Place, observer: Observer) -> EndReason:
    """One engine's work: prepare, run everything, and leave no worker behind, however it ends.

    Even where nothing is left to run the first worker is made ready, which finds out whether the data and the user's own
    networks are still those that the results are of.
    """
    plan = request.plan
    before = [event for event in run_dir.read_journal() if isinstance(event, Prepared)]
    histories = {run: run_dir.read_history(run) for run in plan.runs}
    left = [run for run, history in histories.items() if not history.done]
    slots = place.slots[: max(1, count_packs(left, place.pack_size))]
    executor = _create_executor(request, run_dir, slots)
    scheduler = Scheduler(run_dir, plan, executor, slots, pack_size=place.pack_size)
    narrator = Narrator(observer)
    reason: EndReason = "error"
    try:
        scheduler.note(
            EngineStarted(
                pid=os.getpid(),
                machine=place.machine,
                code=read_code(),
                slots=tuple(slot.name for slot in slots),
                pack_size=place.pack_size,
            )
        )
        narrator.tell(lambda observer: observer.starting(plan, slots, run_dir.root))
        prepared = scheduler.prepare()
        _check_unchanged(run_dir, before, prepared)
        warnings = (*_busy_devices(slots), *check_memory(plan, prepared.data, slots, pack_size=place.pack_size))
        scheduler.note(prepared)
        outset = Outset(
            plan=plan,
            prepared=prepared,
            slots=slots,
            pack_size=place.pack_size,
            run_dir=run_dir.root,
            done=len(plan.runs) - len(left),
            begun=tuple((run, len(histories[run].epochs)) for run in left if histories[run].epochs),
            warnings=warnings,
        )
        narrator.tell(lambda observer: observer.planned(outset))
        narrator.follow(Watcher(run_dir, plan))
        reason = "done" if scheduler.carry_out() else "interrupted"
    except KeyboardInterrupt:
        reason = "interrupted"
    finally:
        scheduler.stop()
        narrator.end()
        scheduler.note(EngineEnded(reason=reason))
        scheduler.close()
    return reason


def _busy_devices(slots: Sequence[Slot]) -> tuple[str, ...]:
    """What else is going on where the runs are to be; on the CPU something always is."""
    devices = {slot.device.label: slot.device for slot in slots if slot.device.kind != "cpu"}
    return tuple(
        f"{label} is busy with other work ({device.busy}): throughput will not be that of a device alone"
        for label, device in devices.items()
        if device.busy
    )


def _create_executor(request: Request, run_dir: RunDir, slots: Sequence[Slot]) -> Executor:
    kind = InlineExecutor if request.executor == "inline" else LocalExecutor
    return kind(run_dir, slots, checkpoint_s=request.checkpoint_s)


def _check_unchanged(run_dir: RunDir, before: Sequence[Prepared], now: Prepared) -> None:
    """Holds the data and the user's own networks against those of all earlier engines, each of which may have had others."""
    if not before:
        return
    data = before[0].data
    if data.sha256 != now.data.sha256:
        raise RunDirError(
            f"{run_dir.root}: its runs were trained on other data: {data.name} {data.sha256[:12]}, "
            f"now {now.data.name} {now.data.sha256[:12]}. Choose another --run-dir"
        )
    code = {name: source for event in reversed(before) for name, source in event.code.items()}
    changed = [name for name, source in now.code.items() if code.get(name, source) != source]
    if changed:
        raise RunDirError(
            f"{run_dir.root}: the source of {', '.join(changed)} has changed since its runs were trained. "
            "Choose another --run-dir"
        )


def _save(request: Request, run_dir: RunDir, *, interrupted: bool) -> Result:
    try:
        profile = reduce_run_dir(run_dir, request.plan)
    except DnlbenchError:
        if not interrupted:
            raise
        return Result(profile=None, path=None, run_dir=run_dir.root, interrupted=True)
    path = save_profile(profile, request.out)
    if request.keep_weights:  # after the profile, which is the more dear
        profile = _keep_weights(profile, path, request.plan, run_dir)
    return Result(profile=profile, path=path, run_dir=run_dir.root, interrupted=interrupted)


def _keep_weights(profile: Profile, path: Path, plan: Plan, run_dir: RunDir) -> Profile:
    """Keeps the weights of all runs that ended well, and saves the profile once more with their hashes."""
    epochs = {run.run_id: plan.by_id[run.run_id].epochs for run in profile.runs if run.status == "ok"}
    kept = keep_weights(run_dir, epochs, weights_folder(path)).sha256
    runs = tuple(run.model_copy(update={"weights_sha256": kept.get(run.run_id)}) for run in profile.runs)
    profile = profile.model_copy(update={"runs": runs})
    save_profile(profile, path)
    return profile
