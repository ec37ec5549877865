"""The scheduler: which run goes to which slot and when. It alone writes the journal, for every executor."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain

from dnlbench.errors import EngineError
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
from dnlbench.executor.leases import Job, Leases
from dnlbench.executor.losses import Losses, deaths_at_start
from dnlbench.executor.placement import Placement
from dnlbench.executor.steering import RunState, Verdict, ended_as, judge
from dnlbench.executor.waiting import Waiting
from dnlbench.files import is_disk_full
from dnlbench.forecast import Forecast, Task
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir

LOOK_S = 0.1
"""Seconds between two looks at a sweep that goes on by itself."""
DISK_LOOK_S = 5.0
"""Seconds between two looks at a disk that is full."""
NAP_S = 5.0
"""An engine that does not come round for longer than that was stopped."""
LISTEN_S = 1.0
"""Seconds between two looks for slots that give no sign of life."""
PATIENCE_S = 3.0
"""How long an engine that is told to end waits for runs to be put aside."""

NO_WORD = Loss(cause="process", error=RunError(type="WorkerLost", message="the run came back without its last event"))


class Scheduler:
    """Keeps every slot busy with the longest task that is left, until none is, or until no slot is fit for use.

    A task is a run, or a pack of up to ``pack_size`` of them. Each run of a pack that came to grief is tried again alone.
    ``by_turns`` all runs are paused at first: each begins when a command resumes it.
    """

    def __init__(
        self,
        run_dir: RunDir,
        plan: Plan,
        executor: Executor,
        slots: Sequence[Slot],
        *,
        pack_size: int = 1,
        by_turns: bool = False,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._executor = executor
        self._slots = slots
        self._by_turns = by_turns
        self._unturned: set[str] = set()
        """Runs that have not had their turn."""
        self._silence_s = silence_s
        self._clock = clock
        self._holds = Holds()
        self._health = SlotHealth(clock)
        forecast = Forecast(plan)
        self._placement = Placement(forecast, clock)
        self._losses = Losses()
        self._waiting = Waiting(forecast, self._losses, pack_size)
        self._leases = Leases(slots)
        self._aside: set[str] = set()
        self._attempts: Counter[str] = Counter()
        self._disk_look = 0.0
        self._listened = self._awake = clock()
        self._heard = -math.inf
        self._cancelled = False
        self._learn_from_before()
        self._journal = Journal(run_dir)
        self._control = run_dir.open_control()

    def _learn_from_before(self) -> None:
        """Attempts are counted on, and what earlier engines' runs took foretells what is left."""
        leases = [event for event in self._run_dir.read_journal() if isinstance(event, RunLeased)]
        self._attempts.update(lease.run_id for lease in leases)
        for run_id, lease in {lease.run_id: lease for lease in leases}.items():  # the last one of each run
            run = self._plan.by_id.get(run_id)
            if run is not None:
                self._placement.learn(run, lease, self._run_dir.read_history(run, all_epochs=True))

    def note(self, *events: JournalEvent) -> None:
        """Adds events to the journal."""
        self._journal.note(*events)
        for event in events:
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
        self._unturned = set(self._waiting) if self._by_turns else set()
        self._keep_waiting()
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
        if self._cancelled or not (self._leases or self._waiting):
            return False
        return bool(self._leases) or any(self._health.fit(slot.name) for slot in self._slots)

    def _queue(self, run: Run, history: RunHistory) -> None:
        self._waiting.add(run, epochs=max(1, run.epochs - len(history.laps)))

    # Giving runs to slots

    def _fill_slots(self) -> None:
        if self._holds.everything:
            return
        free = [slot for slot in self._leases.free if self._may_begin(slot)]
        if not free:
            return
        able = sorted(filter(self._executor.is_open, free), key=lambda slot: not self._executor.is_warm(slot))
        tasks = self._waiting.longest_first(self._holds.runs)
        if self._by_turns and not tasks:
            return  # it is not our turn, and a worker that imports torch would disturb whose it is
        if able and tasks:
            busy = (slot for slot in self._leases.busy if not self._holds.on_slot(slot.name))
            self._begin(self._placement.match(able, chain(able, busy), tasks))
        for slot in free:
            if self._leases.of_slot(slot.name) is None:  # a run that is lost elsewhere can go on here at once
                self._executor.warm_up(slot)

    def _may_begin(self, slot: Slot) -> bool:
        return self._health.ready(slot.name) and not self._holds.on_slot(slot.name)

    def _begin(self, matches: Iterable[tuple[Slot, Task]]) -> None:
        """The leases are all on the disk before the first run begins."""
        jobs = [(slot, task, self._lease(slot, task)) for slot, task in matches]
        self.note(*chain.from_iterable(job for _, _, job in jobs))
        for slot, task, job in jobs:
            self._leases.give(slot, job)
            self._placement.begin(slot.name, job[0].time, task)
            self._executor.start(slot, {lease.run_id: lease.attempt for lease in job})

    def _lease(self, slot: Slot, task: Task) -> Job:
        now = self._clock()
        self._waiting.take(task)
        self._attempts.update(run.run_id for run in task.runs)
        return tuple(
            RunLeased(run_id=run.run_id, attempt=self._attempts[run.run_id], slot=slot.name, time=now)
            for run in task.runs
        )

    # Taking slots back

    def _settle(self, freed: SlotFreed) -> None:
        leases = self._leases.take(freed.slot.name)
        self._placement.end(freed.slot.name)
        put_aside = freed.slot.name in self._aside
        self._aside.discard(freed.slot.name)
        if not {lease.run_id for lease in leases} <= set(freed.run_ids):
            return
        histories = {lease: self._run_dir.read_history(self._run(lease)) for lease in leases}
        for lease, history in histories.items():
            self._placement.learn(self._run(lease), lease, history)
            if any(lap.time >= lease.time for lap in history.laps):
                self._health.well(freed.slot.name)
        if any(_started_since(history, lease) for lease, history in histories.items()):
            self._health.began(freed.slot.name)
        left = tuple(lease for lease, history in histories.items() if not _ended_since(history, lease))
        if left and freed.lost is None and put_aside:
            self._take_back(left, None)
        elif left:
            self._lose(freed.lost or NO_WORD, freed.slot, left)

    def _run(self, lease: RunLeased) -> Run:
        return self._plan.by_id[lease.run_id]

    def _take_back(self, leases: Job, error: RunError | None) -> None:
        """The runs of a pack return together, and so stand in the journal at once: whoever reads it sees all or none."""
        now = self._clock()
        self.note(
            *(
                RunReturned(run_id=lease.run_id, attempt=lease.attempt, slot=lease.slot, error=error, time=now)
                for lease in leases
            )
        )
        for lease in leases:
            self._queue(self._run(lease), self._run_dir.read_history(self._run(lease)))

    def _lose(self, lost: Loss, slot: Slot, leases: Job) -> None:
        """Runs that are lost are tried again within bounds, alone. For some losses they are not to blame, and not charged."""
        if lost.cause == "disk":  # everything waits for it
            self._disk_is_full(lost.error.message)
        if lost.cause == "pack":
            self._losses.part(map(self._run, leases))
        if lost.cause in ("disk", "pack") or self._died_at_start(lost, slot, leases):
            self._take_back(leases, lost.error)
            return
        further = [lease for lease in leases if self._got_further(lease)]
        if not further:
            self._judge_slot(slot, self._run(leases[0]), lost)
        given_up = [lease for lease in leases if self._give_up(lease, lost, got_further=lease in further)]
        self._take_back(tuple(lease for lease in leases if lease not in given_up), lost.error)

    def _died_at_start(self, lost: Loss, slot: Slot, leases: Job) -> bool:
        """Finds a worker that died before it began any of its runs, which are then not charged.

        Too many such deaths in a row set the slot aside. If the executor does not know whether the run had begun, too many
        kills in a row are charged to the run instead.
        """
        histories = {lease: self._run_dir.read_history(self._run(lease)) for lease in leases}
        if lost.begun and any(_started_since(history, lease) for lease, history in histories.items()):
            return False
        is_within_bounds = self._health.died_at_start(slot.name) <= deaths_at_start(lost.cause)
        if lost.begun:
            return lost.cause == "killed" and is_within_bounds
        if is_within_bounds:
            self._judge_slot(slot, self._run(leases[0]), lost)
        elif self._health.fit(slot.name):
            self._health.set_aside(slot.name)
            self.note(SlotSetAside(slot=slot.name, reason=lost.error.message))
        return True

    def _give_up(self, lease: RunLeased, lost: Loss, *, got_further: bool) -> bool:
        """Counts a loss against a run, and ends it if that was one too many and there is room to say so."""
        run = self._run(lease)
        if got_further:
            self._losses.forgive(run)
        within_bounds = self._losses.add(run, lost.cause)
        status = "oom" if lost.cause == "host-memory" else "failed"
        return not within_bounds and self._write_end(run, lease.attempt, status, lost.error)

    def _got_further(self, lease: RunLeased) -> bool:
        """Whether an attempt that was lost leaves more behind than it found, which is what it kept in a checkpoint."""
        kept = self._run_dir.checkpoint_time(lease.run_id)
        return kept is not None and kept >= lease.time

    def _judge_slot(self, slot: Slot, run: Run, lost: Loss) -> None:
        """Finds out whether a loss that came at once speaks against the slot."""
        if lost.cause in ("host-memory", "killed"):
            return
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
        if not 0 <= now - self._heard < LISTEN_S:
            self._heard = now
            for slot in list(self._leases.busy):
                if min(self._executor.silent_s(slot), now - self._awake) > self._silence_s:
                    self._end_silent(slot)

    def _end_silent(self, slot: Slot) -> None:
        self._executor.end(slot)
        message = f"the worker on {slot.name} gave no sign of life for {self._silence_s:.0f} s"
        lost = Loss(cause="silent", error=RunError(type="Silent", message=message))
        run_ids = tuple(lease.run_id for lease in self._leases.of_slot(slot.name) or ())
        self._settle(SlotFreed(slot=slot, run_ids=run_ids, lost=lost))

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
            verdict = self._judge(command)
            if command.action == "resume" and verdict.runs and self._holds.sweep:
                verdict = Verdict(answer=f"{verdict.answer}; the sweep itself is still paused", runs=verdict.runs)
            if not verdict.refused and not self._obey(command, verdict.runs):
                verdict = Verdict(answer="the disk is full; ask again when there is room", refused=True)
            self.note(CommandDone(command=command, refused=verdict.refused, answer=verdict.answer))
            if command.action in ("resume", "cancel") and not verdict.refused:
                self._unturned -= set(command.run_ids)
            self._keep_waiting()

    def _judge(self, command: Command) -> Verdict:
        if self._by_turns and command.action == "retry":
            answer = (
                "its runs take turns with those of another sweep; dnlbench run with --resume tries both of a pair again"
            )
            return Verdict(answer=answer, refused=True)
        return judge(command, self._plan, [slot.name for slot in self._slots], self._state)

    def _keep_waiting(self) -> None:
        """What has not had its turn is paused, also when the sweep as a whole is resumed."""
        unheld = self._unturned - self._holds.runs
        free = [run_id for run_id in self._waiting if run_id in unheld]
        if free:
            command = Command(action="pause", run_ids=tuple(free))
            self.note(CommandDone(command=command, refused=False, answer="they wait for their turns"))

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
        history, lease = self._run_dir.read_history(run), self._leases.of_run(run.run_id)
        return ended_as(history) if lease is None or _ended_since(history, lease) else "running"

    def _cancel(self, run: Run) -> bool:
        leases = self._take_away(run)
        left = [lease for lease in leases if not _ended_since(self._run_dir.read_history(self._run(lease)), lease)]
        own = tuple(lease for lease in left if lease.run_id == run.run_id)
        self._take_back(tuple(lease for lease in left if lease not in own), None)
        if leases and not own:
            return True
        error = RunError(type="Cancelled", message="cancelled on request")
        if self._write_end(run, self._attempts[run.run_id], "cancelled", error, requested=True):
            self._waiting.drop(run.run_id)
            return True
        self._take_back(own, None)
        return False

    def _take_away(self, run: Run) -> Job:
        """Ends the worker that has the run, if one has, and with it all that it has."""
        lease = self._leases.of_run(run.run_id)
        if lease is None:
            return ()
        self._executor.end(self._leases.slot(lease.slot))
        self._placement.end(lease.slot)
        self._aside.discard(lease.slot)
        return self._leases.take(lease.slot)

    def _try_again(self, run: Run) -> bool:
        if not self._write(run, RunRequeued(run_id=run.run_id)):
            return False
        self._losses.forgive(run)
        lease = self._leases.of_run(run.run_id)
        if lease is None:
            self._queue(run, self._run_dir.read_history(run))
        else:  # the rest of its pack is still under way
            self._leases.part(lease)
            self._take_back((lease,), None)
        return True

    def _hold_back(self) -> None:
        """Puts aside what is paused, packs as a whole, and lets go of devices that are released."""
        if not self._holds.any_work:
            return
        for slot in self._slots:
            leases = self._leases.of_slot(slot.name)
            if leases is None and self._holds.on_slot(slot.name) == "release":
                self._executor.end(slot)
            elif slot.name not in self._aside and any(
                self._holds.on_run(lease.run_id, slot.name) for lease in leases or ()
            ):
                self._aside.add(slot.name)
                self._executor.put_aside(slot)

    # The end

    def abandon(self) -> None:
        """Ends the workers at once and writes nothing about their runs: the run directory is lost, or another engine's."""
        for slot in self._leases.busy:
            self._executor.end(slot)
        self._leases = Leases(self._slots)

    def stop(self) -> None:
        """Ends the workers; a run that was under way becomes ``cancelled``, to be gone on with by a later engine."""
        for slot in self._leases.busy:
            self._executor.put_aside(slot)
        left = {lease.slot for lease in self._leases}
        deadline = time.monotonic() + PATIENCE_S
        try:
            with suppress(EngineError):  # what ends the sweep may go on
                while left and time.monotonic() < deadline:
                    for freed in self._executor.wait(LOOK_S):
                        left.discard(freed.slot.name)
        finally:  # a second interrupt ends the waiting; a worker that was stopped would outlive the engine
            self._executor.close()
        for lease in self._leases:
            run = self._run(lease)
            if not _ended_since(self._run_dir.read_history(run), lease):
                error = RunError(type="Interrupted", message="the sweep was interrupted")
                self._write_end(run, lease.attempt, "cancelled", error)
        self._leases = Leases(self._slots)

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


def _started_since(history: RunHistory, lease: RunLeased) -> bool:
    """True if the run started under this lease."""
    return history.started is not None and history.started.time >= lease.time


def _ended_since(history: RunHistory, lease: RunLeased) -> bool:
    """Whether the run's last event was written under this lease."""
    return history.ended is not None and history.ended.time >= lease.time
