"""The scheduler: which run goes to which slot and when. It alone writes the journal, for every executor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from dnlbench.events import (
    Command,
    CommandDone,
    DiskFree,
    DiskFull,
    Holds,
    JournalEvent,
    Prepared,
    RunEnded,
    RunError,
    RunEvent,
    RunHistory,
    RunLeased,
    RunRequeued,
    RunReturned,
    SlotSetAside,
)
from dnlbench.executor.base import SILENCE_S, Executor, Loss, SlotFreed
from dnlbench.executor.health import SlotHealth
from dnlbench.executor.journal import Journal
from dnlbench.executor.losses import STILLBORN, Losses
from dnlbench.executor.placement import Placement
from dnlbench.executor.steering import RunState, Verdict, ended_as, judge
from dnlbench.files import is_disk_full
from dnlbench.forecast import Task
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

LOOK_S = 0.1
"""Seconds between two looks at a sweep that goes on by itself."""
DISK_LOOK_S = 5.0
"""Seconds between two looks at a disk that is full."""
NAP_S = 5.0
"""An engine that does not come round for longer than that was stopped."""
PATIENCE_S = 3.0
"""How long an engine that is told to end waits for runs to be put aside."""

NO_WORD = Loss(cause="process", error=RunError(type="WorkerLost", message="the run came back without its last event"))


class Scheduler:
    """Keeps every slot busy with the longest run that is left, until none is, or until no slot is fit for use."""

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        executor: Executor,
        slots: Sequence[Slot],
        *,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._executor = executor
        self._slots = slots
        self._silence_s = silence_s
        self._clock = clock
        self._control = run_dir.open_control()
        self._holds = Holds()
        self._health = SlotHealth(clock)
        self._placement = Placement(plan, clock)
        self._waiting: dict[str, Task] = {}
        self._leases: dict[str, RunLeased] = {}
        self._aside: set[str] = set()
        self._attempts: Counter[str] = Counter()
        self._losses = Losses()
        self._stillborn: Counter[str] = Counter()
        self._disk_look = 0.0
        self._listened = self._awake = clock()
        self._cancelled = False
        self._learn_from_before()
        self._journal = Journal(run_dir)

    def _learn_from_before(self) -> None:
        """Attempts are counted on, and what earlier engines' runs took foretells what is left."""
        leases = [event for event in self._run_dir.read_journal() if isinstance(event, RunLeased)]
        self._attempts.update(lease.run_id for lease in leases)
        for run_id, lease in {lease.run_id: lease for lease in leases}.items():  # the last one of each run
            run = self._plan.by_id.get(run_id)
            if run is not None:
                self._placement.learn(run, lease, self._run_dir.read_history(run, all_epochs=True))

    def note(self, event: JournalEvent) -> None:
        """Adds an event to the journal."""
        self._journal.note(event)
        self._holds = self._holds.after(event)

    def prepare(self) -> Prepared:
        """Makes the workers ready; see `Executor.prepare`. Nothing is noted yet: the answer may have to be refused."""
        return self._executor.prepare()

    def carry_out(self, tick: Callable[[], None] = lambda: None) -> bool:
        """Does every run that is not done yet. ``tick`` is called several times a second.

        Returns:
            False if somebody cancelled the sweep.
        """
        for run in self._plan.runs:
            history = self._run_dir.read_history(run)
            if not history.done:
                self._queue(run, history)
        while self._has_work():
            self._obey_commands()
            self._look_at_disk()
            if not self._cancelled:
                self._fill_slots()
            for freed in self._executor.wait(LOOK_S):
                self._settle(freed)
            self._end_the_silent()
            self._hold_back()
            tick()
        return not self._cancelled

    def _has_work(self) -> bool:
        usable = any(self._health.fit(slot.name) for slot in self._slots)
        return not self._cancelled and bool(self._leases or (self._waiting and usable))

    def _queue(self, run: Run, history: RunHistory) -> None:
        self._waiting[run.run_id] = Task(run=run, epochs=max(1, run.epochs - len(history.laps)))

    # Giving runs to slots

    def _fill_slots(self) -> None:
        if self._holds.everything:
            return
        free = [slot for slot in self._slots if self._may_begin(slot)]
        if not free:
            return
        free.sort(key=lambda slot: not self._executor.is_warm(slot))
        busy = [slot for slot in self._slots if slot.name in self._leases and not self._holds.on_slot(slot.name)]
        tasks = [task for run_id, task in self._waiting.items() if run_id not in self._holds.runs]
        tasks = [task for task in tasks if not self._losses.has(task.run)] or tasks
        for slot, task in self._placement.match(free, [*free, *busy], tasks) if tasks else ():
            self._lease(slot, task)
        for slot in free:
            if slot.name not in self._leases:  # a run that is lost elsewhere can go on here at once
                self._executor.warm_up(slot)

    def _may_begin(self, slot: Slot) -> bool:
        return slot.name not in self._leases and self._health.ready(slot.name) and not self._holds.on_slot(slot.name)

    def _lease(self, slot: Slot, task: Task) -> None:
        run_id = task.run.run_id
        del self._waiting[run_id]
        self._attempts[run_id] += 1
        lease = RunLeased(run_id=run_id, attempt=self._attempts[run_id], slot=slot.name, time=self._clock())
        self.note(lease)
        self._leases[slot.name] = lease
        self._placement.begin(slot.name, lease.time, task)
        self._executor.start(slot, run_id, lease.attempt)

    # Taking slots back

    def _settle(self, freed: SlotFreed) -> None:
        lease = self._leases.pop(freed.slot.name, None)
        self._placement.end(freed.slot.name)
        put_aside = freed.slot.name in self._aside
        self._aside.discard(freed.slot.name)
        if lease is None or lease.run_id != freed.run_id:
            return
        run = self._plan.by_id[freed.run_id]
        history = self._run_dir.read_history(run)
        self._placement.learn(run, lease, history)
        if any(lap.time >= lease.time for lap in history.laps):
            self._health.well(freed.slot.name)
        if _ended_since(history, lease):
            return
        if freed.lost is None and put_aside:
            self._take_back(lease, run, history, None)
        else:
            self._lose(freed.lost or NO_WORD, freed.slot, lease, run, history)

    def _take_back(self, lease: RunLeased, run: Run, history: RunHistory, error: RunError | None) -> None:
        self.note(RunReturned(run_id=run.run_id, attempt=lease.attempt, slot=lease.slot, error=error))
        self._queue(run, history)

    def _lose(self, lost: Loss, slot: Slot, lease: RunLeased, run: Run, history: RunHistory) -> None:
        """A lost run is tried again within bounds. A full disk is nobody's fault, and everything waits for it."""
        if lost.cause == "disk":
            self._disk_is_full(lost.error.message)
            self._take_back(lease, run, history, lost.error)
            return
        begun = history.started is not None and history.started.time >= lease.time
        self._stillborn[slot.name] = 0 if begun else self._stillborn[slot.name] + 1
        if not begun and lost.cause == "killed" and self._stillborn[slot.name] <= STILLBORN:
            self._take_back(lease, run, history, lost.error)
            return
        if self._got_further(run, lease):
            self._losses.forgive(run)
        elif lost.cause not in ("host-memory", "killed"):
            self._judge_slot(slot, run, lost)
        within_bounds = self._losses.add(run, lost.cause)
        status = "oom" if lost.cause == "host-memory" else "failed"
        if within_bounds or not self._write_end(run, lease.attempt, status, lost.error):
            self._take_back(lease, run, history, lost.error)

    def _got_further(self, run: Run, lease: RunLeased) -> bool:
        """Whether an attempt that was lost leaves more behind than it found, which is what it kept in a checkpoint."""
        kept = self._run_dir.checkpoint_time(run.run_id)
        return kept is not None and kept >= lease.time

    def _judge_slot(self, slot: Slot, run: Run, lost: Loss) -> None:
        """Finds out whether a loss that came at once speaks against the slot."""
        siblings = (other for other in self._plan.runs if other.point == run.point)
        proven = any(self._run_dir.read_history(other).laps for other in siblings)
        if self._health.lost_at_once(slot.name, run, proven=proven):
            self.note(SlotSetAside(slot=slot.name, reason=lost.error.message))

    def _end_the_silent(self) -> None:
        """An engine that was stopped itself, with Ctrl+Z for one, has heard nobody and listens for a while first."""
        now = self._clock()
        if not 0 <= now - self._listened <= NAP_S:
            self._awake = now
        self._listened = now
        for slot in self._slots:
            lease = self._leases.get(slot.name)
            if lease is not None and min(self._executor.silent_s(slot), now - self._awake) > self._silence_s:
                self._executor.end(slot)
                message = f"the worker on {slot.name} gave no sign of life for {self._silence_s:.0f} s"
                lost = Loss(cause="silent", error=RunError(type="Silent", message=message))
                self._settle(SlotFreed(slot=slot, run_id=lease.run_id, lost=lost))

    # A full disk

    def _disk_is_full(self, message: str) -> None:
        if self._holds.disk is None:
            room = f"{message}; nothing is begun until there is room in {self._run_dir.root}"
            self.note(DiskFull(message=room))
        self._disk_look = self._clock() + DISK_LOOK_S

    def _look_at_disk(self) -> None:
        self._journal.catch_up()
        if self._journal.is_behind and self._holds.disk is None:
            self._disk_is_full("the journal cannot be written")
        if self._holds.disk is not None and self._clock() >= self._disk_look:
            self._disk_look = self._clock() + DISK_LOOK_S
            if self._run_dir.has_room():
                self._journal.restore_reserve()
                self.note(DiskFree())

    # Commands

    def _obey_commands(self) -> None:
        for command in self._control.read():
            verdict = judge(command, self._plan, [slot.name for slot in self._slots], self._state)
            if command.action == "resume" and verdict.runs and self._holds.sweep:
                verdict = Verdict(answer=f"{verdict.answer}; the sweep itself is still paused", runs=verdict.runs)
            if not verdict.refused and not self._obey(command, verdict.runs):
                verdict = Verdict(answer="the disk is full; ask again when there is room", refused=True)
            self.note(CommandDone(command=command, refused=verdict.refused, answer=verdict.answer))

    def _obey(self, command: Command, runs: Sequence[Run]) -> bool:
        """Whether there was room for what it takes. Pausing and resuming is done by the holds."""
        if command.action == "cancel" and not runs:
            self._cancelled = True
        written = []
        if command.action == "cancel":
            written = [self._cancel(run) for run in runs]
        elif command.action == "retry":
            written = [self._try_again(run) for run in runs]
        return all(written)

    def _state(self, run: Run) -> RunState:
        if run.run_id in self._waiting:
            return "waiting"
        history = self._run_dir.read_history(run)
        lease = next((lease for lease in self._leases.values() if lease.run_id == run.run_id), None)
        if lease is not None and not (history.done and _ended_since(history, lease)):
            return "running"
        return ended_as(history)

    def _cancel(self, run: Run) -> bool:
        lease = self._take_away(run)
        history = self._run_dir.read_history(run)
        if lease is not None and _ended_since(history, lease):
            return True
        error = RunError(type="Cancelled", message="cancelled on request")
        if self._write_end(run, self._attempts[run.run_id], "cancelled", error, requested=True):
            self._waiting.pop(run.run_id, None)
            return True
        if lease is not None:
            self._take_back(lease, run, history, None)
        return False

    def _take_away(self, run: Run) -> RunLeased | None:
        """Ends the worker that has the run."""
        for slot in self._slots:
            lease = self._leases.get(slot.name)
            if lease is not None and lease.run_id == run.run_id:
                self._executor.end(slot)
                self._placement.end(slot.name)
                self._aside.discard(slot.name)
                return self._leases.pop(slot.name)
        return None

    def _try_again(self, run: Run) -> bool:
        if not self._write(run, RunRequeued(run_id=run.run_id)):
            return False
        self._losses.forgive(run)
        self._queue(run, self._run_dir.read_history(run))
        return True

    def _hold_back(self) -> None:
        """Puts aside what is paused, and lets go of devices that are released."""
        for slot in self._slots:
            lease = self._leases.get(slot.name)
            if lease is None and self._holds.on_slot(slot.name) == "release":
                self._executor.end(slot)
            elif lease is not None and slot.name not in self._aside and self._holds.on_run(lease.run_id, slot.name):
                self._aside.add(slot.name)
                self._executor.put_aside(slot)

    # The end

    def stop(self) -> None:
        """Ends the workers; a run that was under way becomes ``cancelled``, to be gone on with by a later engine."""
        for slot in self._slots:
            if slot.name in self._leases:
                self._executor.put_aside(slot)
        deadline = time.monotonic() + PATIENCE_S
        left = dict(self._leases)
        while left and time.monotonic() < deadline:
            for freed in self._executor.wait(LOOK_S):
                left.pop(freed.slot.name, None)
        self._executor.close()
        for lease in self._leases.values():
            run = self._plan.by_id[lease.run_id]
            if not _ended_since(self._run_dir.read_history(run), lease):
                error = RunError(type="Interrupted", message="the sweep was interrupted")
                self._write_end(run, lease.attempt, "cancelled", error)
        self._leases.clear()

    def _write_end(self, run: Run, attempt: int, status: str, error: RunError, *, requested: bool = False) -> bool:
        """The last event of a run whose worker is gone; whether there was room for it."""
        with_log = error.model_copy(update={"log": self._run_dir.log_tail(run.run_id, attempt)})
        facts = {"run_id": run.run_id, "status": status, "error": with_log, "requested": requested}
        return self._write(run, RunEnded.model_validate({**facts, "time": self._clock()}))

    def _write(self, run: Run, event: RunEvent) -> bool:
        try:
            writer = self._run_dir.events_writer(run.run_id)
            try:
                writer.write(event.model_dump_json(), durable=True)
            finally:
                writer.close()
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._disk_is_full(str(error))
            return False
        return True

    def close(self) -> None:
        """Ends the journal, and the taking of commands."""
        self._control.close()
        self._journal.close()


def _ended_since(history: RunHistory, lease: RunLeased) -> bool:
    """Whether the run's last event was written under this lease."""
    return history.ended is not None and history.ended.time >= lease.time
