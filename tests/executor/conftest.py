"""A sweep on made-up devices in virtual time, for everything that is about the scheduler."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeVar, get_args

import pytest

from dnlbench.events import (
    Command,
    CommandDone,
    DataInfo,
    EngineEnded,
    EngineStarted,
    EpochDone,
    JournalEvent,
    Prepared,
    RunEnded,
    RunError,
    RunEvent,
    RunLeased,
    RunPaused,
    RunRequeued,
    RunStarted,
)
from dnlbench.executor.base import HEARTBEAT_TIMEOUT_S, Attempts, Cause, SlotFreed, WorkerFailure
from dnlbench.executor.scheduler import Scheduler
from dnlbench.files import read_lines
from dnlbench.machine import Code, Machine, Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.store import Execution, RunDir, send_command

Fate = Callable[[str, str, int], str]
"""Map slot, run id and attempt to an outcome, ``KIND`` or ``KIND@EPOCHS``.

``ok`` or an empty string: the run succeeds. A cause of a worker failure: the worker fails for that cause. ``heartbeat``: the
worker hangs. ``no-final-event``: the run comes back without its last event. ``failed``, ``oom``, ``diverged``: the run ends so.
EPOCHS is the number of epochs that the attempt completes first, 0 if the run only starts; without a number it does not even
start. ``not-started-killed`` and the like: the worker is known to have died before it started the run.

In a pack, a run that fails or runs out of memory ends all of them, like a worker failure; one that diverges ends early.
"""
HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
BEGIN = 2e9
STEPS = 1000
"""Training steps of an epoch."""
STEP_S = 0.05
CAUSES = {cause for cause in get_args(Cause) if cause != "heartbeat"}
DIED_BEFORE_START = {f"not-started-{cause}" for cause in CAUSES}
SECONDS, POWER, FACTORS = 1e-4, 0.9, {"densenet": 1.0, "dense-gaussian": 2.0, "resnet": 0.7}
MACHINE = Machine(
    os="x",
    cpu="x",
    cores=1,
    memory_bytes=1,
    python="3",
    torch="2",
    devices=(cpu_device(),),
    fingerprint="0123456789abcdef",
)
PREPARED = Prepared(
    data=DataInfo(name="none", sha256="", samples=1, input_shape=(1, 1, 1), classes=2), torch="none", device_name="x"
)
J = TypeVar("J", bound=JournalEvent)


@dataclass
class Clock:
    now: float = BEGIN

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class DurationModel:
    """How long things take in truth."""

    plan: Plan
    speeds: Mapping[str, float]
    """Of the slots, by name."""
    overhead_s: float = 0.5
    noise: float = 0.0
    """Standard deviation of the logarithm of an attempt's seconds."""
    luck: int = 0
    """ResumeState of the noise."""
    stretch: Callable[[str, int], float] = lambda run_id, attempt: 1.0

    def base_s(self, run: Run) -> float:
        """Seconds of an epoch at speed 1."""
        return SECONDS * FACTORS[run.point.network] * math.pow(self.plan.work[run.run_id], POWER)

    def epoch_s(self, run: Run, slot: str, attempt: int) -> float:
        luck = math.exp(self.noise * Random(f"{self.luck} {run.title} {attempt}").gauss())
        return luck * self.stretch(run.run_id, attempt) * self.base_s(run) / self.speeds[slot]


@dataclass(frozen=True)
class Start:
    slot: str
    run_id: str
    attempt: int
    time: float


@dataclass(frozen=True)
class End:
    """A fate, taken apart."""

    kind: str
    epochs: float
    """After which it comes about; -1 if the run does not begin, infinite if it comes through all."""
    is_fatal: bool
    """Whether it is the end of the whole pack."""

    @classmethod
    def parse(cls, text: str, *, in_pack: bool) -> End:
        kind, _, limit = (text or "ok").partition("@")
        if in_pack and kind in ("failed", "oom"):
            kind = "pack"
        epochs = math.inf if kind == "ok" else int(limit) if limit else -1
        return cls(kind, epochs, kind in {*CAUSES, *DIED_BEFORE_START, "no-final-event", "heartbeat"})


@dataclass
class Attempt:
    """What is still to happen to a run or pack, and the steps that it has behind it at certain times."""

    runs: tuple[Run, ...]
    fate: str
    """``ok`` if nothing befalls the whole of it."""
    left: set[str]
    """Those of its runs that have not ended."""
    script: deque[tuple[float, RunEvent | SlotFreed]] = field(default_factory=deque)
    path: list[tuple[float, float]] = field(default_factory=list)

    @property
    def run(self) -> Run:
        return self.runs[0]

    def steps_at(self, time: float) -> int:
        times = [at for at, _ in self.path]
        index = min(max(1, bisect_right(times, time)), len(times) - 1)
        (t0, s0), (t1, s1) = self.path[index - 1 : index + 1]
        return int(s0 + (s1 - s0) * min(1.0, max(0.0, (time - t0) / (t1 - t0))))


class FakeExecutor:
    """Does runs in virtual time, and takes care that nobody asks for more than an executor promises."""

    def __init__(
        self,
        run_dir: RunDir,
        duration_model: DurationModel,
        clock: Clock,
        steps: dict[str, int],
        fate: Fate,
        back_s: float,
    ) -> None:
        self._run_dir, self._duration_model, self._clock, self._steps, self._fate = (
            run_dir,
            duration_model,
            clock,
            steps,
            fate,
        )
        self._back_s = back_s
        self.running: dict[str, Attempt] = {}
        self.workers = set(duration_model.speeds)
        self.homeless: set[str] = set()
        """Slots that wait for a machine."""
        self.starts: list[Start] = []
        self.jobs: list[tuple[str, ...]] = []
        self.ends: list[tuple[str, str | None]] = []
        """Slots whose worker was there when it was ended, with the run that it had."""
        self.asides: list[tuple[str, str]] = []
        self.closed = False
        self.left: list[str] = []
        """Slots that had a run when everything was closed."""

    def prepare(self) -> Prepared:
        return PREPARED

    def start(self, slot: Slot, attempts: Attempts) -> None:
        assert not self.closed
        assert slot.name not in self.running, "a slot does one job at a time"
        assert not any(attempts.keys() & other.left for other in self.running.values()), "a run is done on one slot"
        self.workers.add(slot.name)
        self.jobs.append(tuple(attempts))
        self.starts += [Start(slot.name, run_id, attempt, self._clock()) for run_id, attempt in attempts.items()]
        self.running[slot.name] = self._script(slot, attempts)

    def _script(self, slot: Slot, attempts: Attempts) -> Attempt:
        runs = tuple(self._duration_model.plan.by_id[run_id] for run_id in attempts)
        ends = {
            run_id: End.parse(self._fate(slot.name, run_id, attempt), in_pack=len(runs) > 1)
            for run_id, attempt in attempts.items()
        }
        fatal = min((end for end in ends.values() if end.is_fatal), key=lambda end: end.epochs, default=None)
        result = Attempt(runs, fatal.kind if fatal else "ok", set(attempts))
        add = result.script.append
        at, done, left = self._clock(), 0, list(runs)
        known = {run_id: self._steps.get(run_id, 0) for run_id in attempts}
        behind = min(known.values())
        if (fatal or max(ends.values(), key=lambda end: end.epochs)).epochs >= 0:
            at += 0.7 * self._duration_model.overhead_s
            for run in runs:
                if ends[run.run_id].epochs >= 0:
                    add((at, self._started(run, attempts, known[run.run_id], at)))
            result.path.append((at, behind))
        while behind < runs[0].epochs * STEPS and (fatal is None or done < fatal.epochs):
            going = [run for run in left if ends[run.run_id].epochs > done]
            if not going:
                break
            for run in left:
                if run not in going:
                    add((at, _ended(run, ends[run.run_id].kind, at)))
            left, done, number = going, done + 1, behind // STEPS + 1
            seconds = len(runs) * self._duration_model.epoch_s(runs[0], slot.name, attempts[runs[0].run_id])
            at += seconds * (number * STEPS - behind) / STEPS
            behind = number * STEPS
            for run in going:
                if behind > known[run.run_id]:
                    add((at, _epoch_done(run, number, seconds, at)))
            result.path.append((at, behind))
        lost = None
        if fatal is None:
            at += 0.3 * self._duration_model.overhead_s
            for run in left:
                add((at, _ended(run, ends[run.run_id].kind, at)))
        elif fatal.kind in CAUSES | DIED_BEFORE_START:
            cause = fatal.kind.removeprefix("not-started-")
            error = RunError(type="Fake", message=f"lost by {cause}")
            lost = WorkerFailure(cause=cause, error=error, started=fatal.kind in CAUSES)  # type: ignore[arg-type]
        if result.fate != "heartbeat":
            add((at + self._back_s, SlotFreed(slot=slot, run_ids=tuple(attempts), failure=lost)))
        return result

    def _started(self, run: Run, attempts: Attempts, behind: int, at: float) -> RunStarted:
        epochs, steps = divmod(behind, STEPS)
        return RunStarted(
            time=at,
            run_id=run.run_id,
            attempt=attempts[run.run_id],
            device="fake",
            device_name="x",
            threads=1,
            pack_size=len(attempts),
            parameters=1,
            from_epoch=epochs,
            from_step=steps,
        )

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        assert not self.closed
        deadline = self._clock() + timeout_s
        freed: list[SlotFreed] = []
        while True:
            at, name = min(((a.script[0][0], name) for name, a in self.running.items() if a.script), default=(9e9, ""))
            if at > (self._clock() if freed else deadline):
                self._clock.now = self._clock() if freed else deadline
                return freed
            self._clock.now = max(self._clock(), at)
            _, event = self.running[name].script.popleft()
            if isinstance(event, SlotFreed):
                del self.running[name]
                if event.failure is not None:
                    self.workers.discard(name)
                freed.append(event)
            else:
                if isinstance(event, RunEnded):
                    self.running[name].left.discard(event.run_id)
                self._write(event)

    def _write(self, event: RunEvent) -> None:
        writer = self._run_dir.events_writer(event.run_id)
        writer.write(event.model_dump_json())
        writer.close()
        if isinstance(event, EpochDone):
            self._steps[event.run_id] = event.epoch * STEPS
            checkpoint = self._run_dir.run_path(event.run_id) / "checkpoint.pt"
            checkpoint.touch()
            os.utime(checkpoint, (event.time, event.time))
        elif isinstance(event, RunPaused):
            self._steps[event.run_id] = event.epoch * STEPS + event.step

    def warm_up(self, slot: Slot) -> None:
        assert slot.name not in self.running
        self.workers.add(slot.name)

    def is_open(self, slot: Slot) -> bool:
        return slot.name not in self.homeless

    def is_warm(self, slot: Slot) -> bool:
        return slot.name in self.workers

    def suspend(self, slot: Slot) -> None:
        attempt = self.running.get(slot.name)
        if attempt is None:
            return
        self.asides.append((slot.name, attempt.run.run_id))
        started = [at for at, event in attempt.script if isinstance(event, RunStarted)]
        at = max([self._clock() + STEP_S, *started])
        if attempt.fate == "heartbeat" or not any(
            when > at and isinstance(event, EpochDone) for when, event in attempt.script
        ):
            return  # it hears nothing, or no training step is left and it ends as it would
        kept = [(when, event) for when, event in attempt.script if when <= at]
        ended = {event.run_id for _, event in kept if isinstance(event, RunEnded)}
        paused = [self._paused(attempt, run_id, at) for run_id in sorted(attempt.left - ended)]
        doomed = attempt.fate in CAUSES  # it is lost, then, instead of pausing
        last = SlotFreed(slot=slot, run_ids=tuple(run.run_id for run in attempt.runs))
        if doomed:
            paused, last = [], attempt.script[-1][1]  # type: ignore[assignment]
        attempt.script = deque([*kept, *((at, event) for event in paused), (at, last)])

    def _paused(self, attempt: Attempt, run_id: str, at: float) -> RunPaused:
        epoch, step = divmod(max(attempt.steps_at(at), self._steps.get(run_id, 0)), STEPS)
        return RunPaused(time=at, run_id=run_id, epoch=epoch, step=step)

    def end(self, slot: Slot) -> None:
        attempt = self.running.pop(slot.name, None)
        if slot.name in self.workers:
            self.ends.append((slot.name, attempt.run.run_id if attempt else None))
            self.workers.discard(slot.name)

    def heartbeat_age_s(self, slot: Slot) -> float:
        attempt = self.running.get(slot.name)
        if attempt is None or attempt.fate != "heartbeat" or attempt.script:
            return 0.0
        since = attempt.path[-1][0] if attempt.path else self.started_at(slot.name)
        return self._clock() - since

    def started_at(self, slot: str) -> float:
        return next(start.time for start in reversed(self.starts) if start.slot == slot)

    def close(self) -> None:
        self.closed = True
        self.left = list(self.running)
        self.running.clear()
        self.workers.clear()


def _ended(run: Run, status: str, at: float) -> RunEnded:
    error = None if status == "ok" else RunError(type="Fake", message=status)
    return RunEnded.model_validate({"time": at, "run_id": run.run_id, "status": status, "error": error})


def _epoch_done(run: Run, number: int, seconds: float, at: float) -> EpochDone:
    return EpochDone(
        time=at,
        run_id=run.run_id,
        epoch=number,
        train_loss=1 / number,
        seconds=seconds,
        samples_per_s=150 / seconds,
        gradient_norm=1.0,
    )


class Lab:
    """A run directory, its virtual time, and the engines that are at work in it one after the other."""

    def __init__(self, run_dir: RunDir, plan: Plan) -> None:
        self.run_dir, self.plan, self.clock = run_dir, plan, Clock()
        run_dir.begin(plan, HOW)
        self.steps: dict[str, int] = {}
        self.engines: list[FakeExecutor] = []
        self.start_time = 0.0

    def run_sweep(
        self,
        speeds: Mapping[str, float] | int = 3,
        fate: Fate = lambda slot, run_id, attempt: "",
        script: Mapping[float, Command | Callable[[], None]] | None = None,
        tick: Callable[[], None] = lambda: None,
        *,
        pack_size: int = 1,
        start_paused: bool = False,
        complete_script: bool = True,
        heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S,
        limit_s: float = 3600.0,
        back_s: float = 0.0,
        overhead_s: float = 0.5,
        noise: float = 0.0,
        luck: int = 0,
        stretch: Callable[[str, int], float] = lambda run_id, attempt: 1.0,
    ) -> bool:
        """One engine's work from its beginning to its end, as `dnlbench.engine` does it.

        Args:
            speeds: of the slots, by their names; or how many slots of speed 1 there are.
            fate: of each attempt.
            script: commands to leave and things to do, by the virtual seconds since the engine began.
            tick: called at every look.
            pack_size: see `Scheduler`.
            start_paused: see `Scheduler`.
            complete_script: whether the sweep has to last as long as the script.
            heartbeat_timeout_s: see `Scheduler`.
            limit_s: virtual seconds that it may take.
            back_s: seconds between a run's last event and its slot's being free.
            overhead_s: of each attempt.
            noise: see `DurationModel`.
            luck: see `DurationModel`.
            stretch: see `DurationModel`.

        Returns:
            What `Scheduler.run` returns.
        """
        if isinstance(speeds, int):
            speeds = {f"fake:{number}/0": 1.0 for number in range(speeds)}
        model = DurationModel(
            plan=self.plan, speeds=speeds, overhead_s=overhead_s, noise=noise, luck=luck, stretch=stretch
        )
        executor = FakeExecutor(self.run_dir, model, self.clock, self.steps, fate, back_s)
        self.engines.append(executor)
        slots = [Slot(name=name, device=cpu_device(), threads=1) for name in speeds]
        scheduler = Scheduler(
            self.run_dir,
            self.plan,
            executor,
            slots,
            pack_size=pack_size,
            start_paused=start_paused,
            heartbeat_timeout_s=heartbeat_timeout_s,
            clock=self.clock,
        )
        self.clock.now += 1.0  # since the engine before
        self.start_time = self.clock()
        due = deque(sorted((script or {}).items(), key=lambda item: item[0]))

        def observe() -> None:
            assert self.passed_s < limit_s, "the sweep does not come to an end"
            while due and self.passed_s >= due[0][0]:
                _, action = due.popleft()
                self.leave(action) if isinstance(action, Command) else action()
            tick()

        names = tuple(speeds)
        code = Code(version="0")
        engine = EngineStarted(time=self.clock(), pid=1, machine=MACHINE, code=code, slots=names, pack_size=pack_size)
        scheduler.note(engine)
        scheduler.note(scheduler.prepare().model_copy(update={"time": self.clock()}))
        finished = False
        try:
            finished = scheduler.run(observe)
        finally:
            scheduler.stop()
            reason = "done" if finished else "interrupted"
            scheduler.note(EngineEnded.model_validate({"time": self.clock(), "reason": reason}))
            scheduler.close()
        assert not (due and complete_script), "the sweep was over before the script was"
        assert not (finished and executor.left), "a run was left on a slot"
        self.check()
        return finished

    def base_s(self, run: Run) -> float:
        """Seconds of all epochs of a run at speed 1."""
        return run.epochs * DurationModel(plan=self.plan, speeds={}).base_s(run)

    def widen(self, plan: Plan) -> None:
        """Makes the next engine carry out another plan that shares runs with this one."""
        self.plan = plan
        self.run_dir.begin(plan, HOW)

    def leave(self, command: Command) -> None:
        send_command(self.run_dir.control_path, command)

    @property
    def passed_s(self) -> float:
        """Virtual seconds since the last engine began."""
        return self.clock() - self.start_time

    @property
    def executor(self) -> FakeExecutor:
        """The last engine's."""
        return self.engines[-1]

    @property
    def starts(self) -> list[Start]:
        """Of all engines."""
        return [start for engine in self.engines for start in engine.starts]

    @property
    def packs(self) -> list[tuple[str, ...]]:
        """What was begun together, by run id, of all engines."""
        return [job for engine in self.engines for job in engine.jobs]

    def journal(self, kind: type[J]) -> list[J]:
        return [event for event in self.run_dir.read_journal() if isinstance(event, kind)]

    def answers(self) -> list[str]:
        """To the commands, ``no: `` before the refusals."""
        return [("no: " if done.refused else "") + done.answer for done in self.journal(CommandDone)]

    def events(self, run_id: str) -> list[RunEvent]:
        return self.run_dir.parse_events(run_id, read_lines(self.run_dir.events_path(run_id)))

    def ended(self, run_id: str) -> RunEnded | None:
        return self.run_dir.read_history(self.plan.by_id[run_id]).ended

    def statuses(self) -> Counter[str | None]:
        ends = [self.ended(run.run_id) for run in self.plan.runs]
        return Counter(end.status if end else None for end in ends)

    def find(self, beginning: str) -> str:
        """The run id that begins so."""
        (run_id,) = [run.run_id for run in self.plan.runs if run.run_id.startswith(beginning)]
        return run_id

    def check(self) -> None:
        """What holds after every sweep, whatever happened in it."""
        leases = self.journal(RunLeased)
        assert [Start(lease.slot, lease.run_id, lease.attempt, lease.time) for lease in leases] == self.starts
        assert not self.run_dir.reserve_path.exists()
        for run in self.plan.runs:
            run_leases = [lease for lease in leases if lease.run_id == run.run_id]
            assert [lease.attempt for lease in run_leases] == list(range(1, len(run_leases) + 1))
            self._check_ends(run.run_id, [lease.time for lease in run_leases])
            history = self.run_dir.read_history(run)
            assert [epoch.epoch for epoch in history.epochs] == list(range(1, len(history.epochs) + 1))
            if history.ended is not None and history.ended.status == "ok":
                assert len(history.epochs) == run.epochs

    def _check_ends(self, run_id: str, leased: Sequence[float]) -> None:
        """A run ends once for each lease, but for one that is cancelled while it waits."""
        updates = [event for event in self.events(run_id) if isinstance(event, RunEnded | RunRequeued)]
        for before, after in pairwise(updates):
            if isinstance(before, RunEnded) and isinstance(after, RunEnded):
                assert bisect_right(leased, before.time) < bisect_right(leased, after.time), "ended twice"
        assert all(isinstance(event, RunRequeued) or event.requested or leased for event in updates)


@pytest.fixture
def make_lab(tmp_path: Path, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lab]:
    """Of the settings in which its plan differs from `TINY`. What is said to be on the disk need not be."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    labs: list[Lab] = []

    def make(*overrides: str) -> Lab:
        labs.append(Lab(RunDir(tmp_path / f"lab-{len(labs)}"), make_plan(*overrides)))
        return labs[-1]

    return make


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """Sixteen runs of a few virtual seconds."""
    return make_lab("sweep.depths=[1,2,3,4]", "train.epochs=3")
