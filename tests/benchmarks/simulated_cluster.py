"""A cluster in virtual time, built for speed: thousands of slots whose runs do nothing but report that they go on."""

from __future__ import annotations

import heapq
import os
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from random import Random

from dnlbench.events import DataInfo, EpochDone, Prepared, RunEnded, RunError, RunEvent, RunStarted
from dnlbench.executor.base import Attempts, SlotFreed, WorkerFailure
from dnlbench.executor.ray.messages import RunUpdate
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.machine import Slot, cpu_device
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

BEGIN = 2e9
OVERHEAD_S = 0.5
"""Before the first epoch of a run."""
LOST = WorkerFailure(cause="process", error=RunError(type="Simulated", message="lost on purpose"))
PREPARED = Prepared(
    data=DataInfo(name="none", sha256="", samples=1, input_shape=(1, 1, 1), classes=2), torch="none", device_name="x"
)


@dataclass
class Clock:
    """Virtual time."""

    now: float = BEGIN

    def __call__(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Meter:
    """What the engine takes, in CPU seconds of its own, and how often. What the simulation takes is not in it."""

    scheduling_s: float = 0.0
    delivery_s: float = 0.0
    watching_s: float = 0.0
    looks: int = 0
    idle_looks: int = 0
    idle_s: float = 0.0
    """Of the scheduling: looks at which nothing had come back and nothing was begun."""
    began: int = 0
    lines: int = 0
    lags_s: list[float] = field(default_factory=list)
    """By the wall clock: from the news that a slot is free until its next run begins."""

    @property
    def cpu_s(self) -> float:
        """All of it."""
        return self.scheduling_s + self.delivery_s + self.watching_s


@dataclass(frozen=True, kw_only=True)
class DurationModel:
    """How long things take, and what is lost."""

    run_s: float = 60.0
    """Of a run without its overhead, on a slot of medium speed."""
    spread: float = 0.1
    """The slowest slot takes so much longer than that, the fastest so much less; runs vary by as much again."""
    lost: float = 0.01
    """Share of first attempts that are lost half-way."""
    opening_s: float = 60.0
    """One slot after the other finds its place in that time, so that their runs do not keep step."""


class SimulatedCluster:
    """An executor whose runs report an epoch at a time, until they end or are lost."""

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        slots: Sequence[Slot],
        clock: Clock,
        law: DurationModel,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_dir, self._plan, self._clock, self._law = run_dir, plan, clock, law
        self._replica, self._watch = EventReplica(run_dir), watch
        self._told: dict[str, int] = {}
        """Events of the attempt under way at each run that were reported."""
        count = len(slots)
        self._opens = {slot.name: clock() + law.opening_s * place / count for place, slot in enumerate(slots)}
        self._pace = {slot.name: 1 + law.spread * Random(place).uniform(-1, 1) for place, slot in enumerate(slots)}
        self._coming: list[tuple[float, int, Slot]] = []
        """A heap of the next event of each slot that is busy; the number stands for the start that it belongs to."""
        self._scripts: dict[int, Iterator[tuple[float, RunEvent | SlotFreed]]] = {}
        self._next: dict[int, RunEvent | SlotFreed] = {}
        self._busy: dict[str, int] = {}
        self._starts = 0
        self._kept: dict[str, int] = {}
        """Epochs in the last checkpoint, by run id."""
        self._freed_at: dict[str, float] = {}
        self.attempts: dict[str, int] = {}
        """The last one of each run."""
        self.meter = Meter()
        self._since, self._idle = time.process_time(), True

    @property
    def busy(self) -> Set[str]:
        """Names of the slots that have a run."""
        return self._busy.keys()

    # What the scheduler asks for

    def prepare(self) -> Prepared:
        return PREPARED

    def start(self, slot: Slot, attempts: Attempts) -> None:
        ((run_id, attempt),) = attempts.items()
        assert slot.name not in self._busy, "a slot does one job at a time"
        assert self.attempts.get(run_id, 0) == attempt - 1, "attempts are counted one by one"
        if slot.name in self._freed_at:
            self.meter.lags_s.append(time.perf_counter() - self._freed_at.pop(slot.name))
        self.attempts[run_id] = attempt
        self._told[run_id] = 0
        self._replica.begin(attempts, self._clock())
        self._replica.resume_states(attempts, shared=False)
        self._starts += 1
        self._busy[slot.name] = self._starts
        self._scripts[self._starts] = self._script(slot, self._plan.by_id[run_id], attempt, self._clock())
        self._advance(self._starts, slot)
        self.meter.began += 1
        self._idle = False

    def warm_up(self, slot: Slot) -> None:
        pass

    def is_open(self, slot: Slot) -> bool:
        return self._clock() >= self._opens[slot.name]

    def is_warm(self, slot: Slot) -> bool:
        return True

    def suspend(self, slot: Slot) -> None:
        """Nothing is, here: the run ends, or everything is closed."""

    def end(self, slot: Slot) -> None:
        start = self._busy.pop(slot.name, None)
        if start is not None:
            del self._scripts[start], self._next[start]

    def heartbeat_age_s(self, slot: Slot) -> float:
        return 0.5

    def close(self) -> None:
        self._busy.clear()
        self._coming.clear()

    def wait(self, timeout_s: float) -> Sequence[SlotFreed]:
        self._measure_look()
        deadline = self._clock() + timeout_s
        events, freed = self._happen(deadline)
        reports = self._reports(events)
        begun = time.process_time()
        for report in reports:
            self._replica.take(pickle.loads(report), ahead_s=0.0)
        for slot in freed:
            self._replica.end({slot.run_ids[0]: self.attempts[slot.run_ids[0]]})
            if slot.failure is not None:
                self._keep(slot.run_ids[0])
        delivered = time.process_time()
        self._watch()
        self._since = time.process_time()
        self.meter.delivery_s += delivered - begun
        self.meter.watching_s += self._since - delivered
        self.meter.lines += len(events)
        self._idle = not freed
        now = time.perf_counter()
        self._freed_at.update((slot.slot.name, now) for slot in freed)
        return freed

    def _reports(self, events: Sequence[RunEvent]) -> list[bytes]:
        """As they come through a network: one of each run that has something to say."""
        lines: defaultdict[str, list[bytes]] = defaultdict(list)
        for event in events:
            lines[event.run_id].append(event.model_dump_json(exclude_none=True).encode())
        return [pickle.dumps(self._update(run_id, tuple(new)), protocol=5) for run_id, new in lines.items()]

    def _update(self, run_id: str, lines: tuple[bytes, ...]) -> RunUpdate:
        first, self._told[run_id] = self._told[run_id], self._told[run_id] + len(lines)
        return RunUpdate(run_id=run_id, attempt=self.attempts[run_id], first=first, lines=lines, log_from=0, log=b"")

    # What happens

    def _measure_look(self) -> None:
        took = time.process_time() - self._since
        self.meter.scheduling_s += took
        self.meter.looks += 1
        if self._idle:
            self.meter.idle_looks += 1
            self.meter.idle_s += took

    def _happen(self, deadline: float) -> tuple[list[RunEvent], list[SlotFreed]]:
        """Everything until the deadline, or until a slot comes free and what is due at the same moment."""
        events: list[RunEvent] = []
        freed: list[SlotFreed] = []
        while self._coming and self._coming[0][0] <= (self._clock() if freed else deadline):
            at, start, slot = heapq.heappop(self._coming)
            if start not in self._next:
                continue  # it was ended
            self._clock.now = max(self._clock(), at)
            event = self._next[start]
            if isinstance(event, SlotFreed):
                del self._scripts[start], self._next[start], self._busy[slot.name]
                freed.append(event)
            else:
                events.append(event)
                self._advance(start, slot)
        if not freed:
            self._clock.now = deadline
        return events, freed

    def _advance(self, start: int, slot: Slot) -> None:
        at, self._next[start] = next(self._scripts[start])
        heapq.heappush(self._coming, (at, start, slot))

    def _script(self, slot: Slot, run: Run, attempt: int, at: float) -> Iterator[tuple[float, RunEvent | SlotFreed]]:
        run_id, luck = run.run_id, Random(f"{run.run_id} {attempt}")
        kept = self._kept.get(run_id, 0)
        last = run.epochs
        lost = LOST if attempt == 1 and luck.random() < self._law.lost else None
        if lost is not None:
            last //= 2
        epoch_s = self._law.run_s / run.epochs * self._pace[slot.name] * (1 + self._law.spread * luck.uniform(-1, 1))
        at += OVERHEAD_S
        device = slot.device.label
        yield (
            at,
            RunStarted(
                time=at,
                run_id=run_id,
                attempt=attempt,
                device=device,
                device_name="x",
                threads=1,
                parameters=1,
                from_epoch=kept,
            ),
        )
        for number in range(kept + 1, last + 1):
            at += epoch_s
            yield at, _epoch_done(run_id, number, epoch_s, at)
            self._kept[run_id] = number
        if lost is not None:
            at += epoch_s * (run.epochs / 2 - last)
        else:
            yield at, RunEnded(time=at, run_id=run_id, status="ok")
        yield at, SlotFreed(slot=slot, run_ids=(run_id,), failure=lost)

    def _keep(self, run_id: str) -> None:
        """The checkpoint of a run that is lost is brought home, if it has one."""
        if run_id not in self._kept:
            return
        path = self._run_dir.run_path(run_id) / "checkpoint.pt"
        path.touch()
        os.utime(path, (self._clock(), self._clock()))


def make_slots(count: int) -> list[Slot]:
    """As they are called on a cluster."""
    return [Slot(name=f"ray/{place}", device=cpu_device(), threads=1) for place in range(count)]


def _epoch_done(run_id: str, number: int, seconds: float, at: float) -> EpochDone:
    return EpochDone(
        time=at,
        run_id=run_id,
        epoch=number,
        train_loss=2.3 / number,
        seconds=seconds,
        samples_per_s=1797 / seconds,
        gradient_norm=1 / number,
    )
