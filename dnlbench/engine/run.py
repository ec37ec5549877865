"""Run a sweep, from its request to its saved profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dnlbench.engine.executors import Opening
from dnlbench.engine.outcome import check_outcome
from dnlbench.engine.placement import Placement, choose_placement, execution_of, find_run_dir
from dnlbench.engine.request import RunRequest, restored_on_error, write_request
from dnlbench.errors import DnlbenchError, EngineError, NetworkError, RunDirError, RunDirLostError
from dnlbench.events import EngineEnded, EngineStarted, Prepared, RunHistory
from dnlbench.executor.capacity import check_memory
from dnlbench.executor.packing import count_packs
from dnlbench.executor.scheduler import Scheduler
from dnlbench.executor.weights import keep_weights, weights_folder
from dnlbench.machine import Slot, read_code
from dnlbench.plan import Plan, Run
from dnlbench.profiles import Profile, reduce_run_dir, save_profile
from dnlbench.progress import Observer, ProgressReporter, SweepStarted
from dnlbench.store import RunDir
from dnlbench.store.workspace import save_entry
from dnlbench.watch import Watcher

EndReason = Literal["done", "interrupted", "error"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a sweep."""

    profile: Profile | None
    """None if the sweep was interrupted before the data were loaded, or before its first run in a paired benchmark."""
    path: Path | None
    run_dir: Path
    interrupted: bool
    replaced: bool = False
    lost_weights: Mapping[str, str] = field(default_factory=dict)
    """Reasons why weights were not saved, by run id."""


def run_sweep(request: RunRequest, observer: Observer) -> Result:
    """Run the unfinished runs of a sweep and save the profile.

    Raises:
        ConfigurationError: if the sweep cannot run as requested. Nothing was started.
        EngineError: if the workers cannot be started.
        RunDirLostError: if the run directory is removed, renamed or taken over by another engine.
    """
    plan = request.plan
    check_outcome(request)
    messages: list[str] = []
    run_dir = RunDir(find_run_dir(request, on_message=messages.append))
    _check_resumed(request, run_dir, messages)
    _send(observer, messages)
    with request.executor_type.connected(request), run_dir.locked() as lock:
        with restored_on_error(run_dir):
            placement = choose_placement(request)
            run_dir.begin(plan, execution_of(placement))
            write_request(request, run_dir)
            _check_code(run_dir, run_dir.changed_code(plan))
            reason = _run(_Work.read(request, run_dir, placement), observer, lock.check)
        lock.check()
        save_entry(run_dir)
        return _save(request, run_dir, interrupted=reason == "interrupted")


def _check_resumed(request: RunRequest, run_dir: RunDir, messages: Sequence[str]) -> None:
    if request.resume and not run_dir.sweep_path.exists():
        reason = f" ({'; '.join(messages)})" if messages else ""
        raise RunDirError(
            f"--resume: {run_dir.root}: no sweep to resume{reason}. Run without --resume or --extend, or set --run-dir."
        )


def _send(observer: Observer, messages: Sequence[str]) -> None:
    reporter = ProgressReporter(observer)
    for message in messages:
        reporter.call(lambda observer, message=message: observer.on_message(message))  # type: ignore[misc]
    reporter.close()


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The unfinished runs of a sweep and their slots."""

    request: RunRequest
    run_dir: RunDir
    placement: Placement
    histories: Mapping[Run, RunHistory]
    slots: tuple[Slot, ...]
    """At most as many as there are packs to run."""

    @classmethod
    def read(cls, request: RunRequest, run_dir: RunDir, placement: Placement) -> _Work:
        """Read a run directory. Without unfinished runs, one slot remains: its worker checks data and code."""
        histories = {run: run_dir.read_history(run) for run in request.plan.runs}
        left = [run for run, history in histories.items() if not history.done]
        slots = placement.slots[: max(1, count_packs(left, placement.pack_size))]
        return cls(request=request, run_dir=run_dir, placement=placement, histories=histories, slots=slots)


def _run(work: _Work, observer: Observer, require_run_dir: Callable[[], None]) -> EndReason:
    """Prepare and run all runs. Stop all workers at the end, also after errors."""
    request, run_dir = work.request, work.run_dir
    reporter = ProgressReporter(observer)
    opening = Opening(
        request=request,
        run_dir=run_dir,
        placement=work.placement,
        slots=work.slots,
        on_message=lambda message: reporter.call(lambda observer: observer.on_message(message)),
    )
    executor = request.executor_type.create(opening)
    pack_size, start_paused = work.placement.pack_size, request.session is not None
    scheduler = Scheduler(run_dir, request.plan, executor, work.slots, pack_size=pack_size, start_paused=start_paused)
    reason: EndReason = "error"
    is_lost = False
    try:
        before = run_dir.read_state().preparations
        scheduler.note(_started(work))
        reporter.call(lambda observer: observer.on_starting(request.plan, work.slots, run_dir.root))
        prepared = _prepare(scheduler, request, run_dir.slot_log_path(work.slots[0].name))
        _check_unchanged(run_dir, request.plan, before, prepared)
        started = _sweep_started(work, prepared)
        scheduler.note(prepared)
        reporter.call(lambda observer: observer.on_started(started))
        reporter.follow(Watcher(run_dir, request.plan))
        reason = "done" if scheduler.run(require_run_dir) else "interrupted"
    except KeyboardInterrupt:
        reason = "interrupted"
    except RunDirLostError:
        scheduler.abandon()
        is_lost = True
        raise
    finally:
        with closing(scheduler):
            scheduler.stop()
            reporter.close()
            if not is_lost:  # else the journal may belong to another engine
                scheduler.note(EngineEnded(reason=reason))
    return reason


def _started(work: _Work) -> EngineStarted:
    return EngineStarted(
        pid=os.getpid(),
        machine=work.placement.machine,
        code=read_code(),
        slots=tuple(slot.name for slot in work.slots),
        pack_size=work.placement.pack_size,
        session=work.request.session,
    )


def _sweep_started(work: _Work, prepared: Prepared) -> SweepStarted:
    plan, placement, slots = work.request.plan, work.placement, work.slots
    left = {run: len(history.epochs) for run, history in work.histories.items() if not history.done}
    warnings = (
        *_unusable_devices(work.request, placement, slots),
        *prepared.warnings,
        *_busy_devices(slots),
        *check_memory(
            plan,
            prepared.data,
            _largest(placement, slots),
            pack_size=placement.pack_size,
            measured=prepared.memory,
        ),
    )
    return SweepStarted(
        plan=plan,
        prepared=prepared,
        slots=slots,
        pack_size=placement.pack_size,
        nodes=len(placement.nodes),
        run_dir=work.run_dir.root,
        done=len(plan.runs) - len(left),
        resumed=tuple((run, epochs) for run, epochs in left.items() if epochs),
        warnings=warnings,
    )


def _unusable_devices(request: RunRequest, placement: Placement, slots: Sequence[Slot]) -> Iterator[str]:
    """Yield a warning for each GPU that the user may expect to be used, but that is unusable."""
    on_cpu = slots[0].device.kind == "cpu"
    if request.device not in ("auto", *(() if on_cpu else ("cuda",))):
        return
    effect = "runs use the CPU (--device cpu does so without this warning)" if on_cpu else "runs use the other GPUs"
    machines = {f"{node.name}: ": node.machine for node in placement.nodes} or {"": placement.machine}
    for name, machine in machines.items():
        for device in machine.unusable:
            if not device.hidden:
                yield f"{name}{device.text}; {effect}"


def _prepare(scheduler: Scheduler, request: RunRequest, log: Path) -> Prepared:
    try:
        return scheduler.prepare()
    except NetworkError as error:
        if not request.executor_type.has_logs:
            raise
        raise NetworkError(f"{error}. The traceback is in {log}") from error


def _busy_devices(slots: Sequence[Slot]) -> tuple[str, ...]:
    """Return a warning for each GPU that other processes use."""
    devices = {slot.device.label: slot.device for slot in slots if slot.device.kind != "cpu"}
    return tuple(
        f"{label} is used by other processes ({device.busy}): throughput will be lower than on an idle device"
        for label, device in devices.items()
        if device.busy
    )


def _largest(placement: Placement, slots: Sequence[Slot]) -> Sequence[Slot]:
    """Return the slots whose memory limits the runs: on a cluster, one slot of the largest machine."""
    return slots[:1] if placement.nodes else slots


def _check_unchanged(run_dir: RunDir, plan: Plan, before: Sequence[Prepared], now: Prepared) -> None:
    """Check that data and custom networks are the same as those of all earlier engines.

    Raises:
        RunDirError: if they differ.
    """
    if not before:
        return
    if split := before[0].data.differing_split(now.data):
        raise RunDirError(
            f"{run_dir.root}: the {split} data differ from those of its earlier runs. Choose another --run-dir"
        )
    _check_code(run_dir, run_dir.recorded_code(plan).differences(now.code))


def _check_code(run_dir: RunDir, changed: Sequence[str]) -> None:
    if changed:
        raise RunDirError(
            f"{run_dir.root} contains results of other code: {', '.join(changed)} changed since then. "
            "Undo the change, or choose another --run-dir."
        )


def _save(request: RunRequest, run_dir: RunDir, *, interrupted: bool) -> Result:
    if interrupted and request.session is not None and not run_dir.read_state().has_worked:
        # the session was rejected or interrupted before its first run: keep an existing profile
        return Result(profile=None, path=None, run_dir=run_dir.root, interrupted=True)
    try:
        profile = reduce_run_dir(run_dir, request.plan)
    except DnlbenchError:
        if not interrupted:
            raise
        return Result(profile=None, path=None, run_dir=run_dir.root, interrupted=True)
    replaced = request.out is not None and request.out.is_file() and request.out.stat().st_size > 0
    lost: Mapping[str, str] = {}
    try:
        path = save_profile(profile, request.out)
        if request.keep_weights:  # after the profile, which is more important
            profile, lost = _keep_weights(profile, path, request.plan, run_dir)
    except OSError as error:
        raise EngineError(
            f"could not write {error.filename}: {error.strerror}. The results are safe in {run_dir.root}; "
            "remove the cause and run the same command again"
        ) from error
    return Result(
        profile=profile,
        path=path,
        run_dir=run_dir.root,
        interrupted=interrupted,
        replaced=replaced,
        lost_weights=lost,
    )


def _keep_weights(profile: Profile, path: Path, plan: Plan, run_dir: RunDir) -> tuple[Profile, Mapping[str, str]]:
    """Save the weights of all successful runs, and the profile again with their hashes."""
    epochs = {run.run_id: plan.by_id[run.run_id].epochs for run in profile.runs if run.status == "ok"}
    kept = keep_weights(run_dir, epochs, weights_folder(path))
    runs = tuple(run.model_copy(update={"weights_sha256": kept.sha256.get(run.run_id)}) for run in profile.runs)
    profile = profile.model_copy(update={"runs": runs})
    save_profile(profile, path)
    return profile, kept.left_out
