"""Follow a running sweep and estimate its remaining time."""

from __future__ import annotations

import math
from dataclasses import replace

from dnlbench.estimates import DurationEstimator, Task, pack, schedule
from dnlbench.events import RunHistory, RunLeased
from dnlbench.plan import Plan, Run
from dnlbench.store import RunDir, SweepFollower, SweepView
from dnlbench.store.state import TimeLeft

__all__ = ["SweepView", "TimeLeft", "Watcher"]

ESTIMATE_S = 1.0
"""Time between two estimates, in seconds for each `ESTIMATE_RUNS` runs: those of large sweeps take longer."""
ESTIMATE_RUNS = 2000


class Watcher:
    """Follow a run directory and estimate the time left. A watcher only reads."""

    def __init__(self, run_dir: RunDir, plan: Plan) -> None:
        self._plan = plan
        self._follower = SweepFollower(run_dir, plan)
        self._estimator = DurationEstimator(plan)
        self._estimate_s = ESTIMATE_S * max(1.0, len(plan.runs) / ESTIMATE_RUNS)
        self._unlearned: dict[tuple[str, int], tuple[RunLeased, RunHistory]] = {}
        """Leases and histories since the last estimate, by run and attempt."""
        self._time_left, self._estimated = TimeLeft(), -math.inf

    def poll(self, now: float) -> SweepView:
        """Return the state of the sweep at the time ``now``, in seconds since the epoch.

        Raises:
            RunDirError: if a new line is not an event that this version reads. The next poll continues after that line.
        """
        view = self._follower.poll()
        for lease in self._follower.fresh:
            history = self._follower.history(lease.run_id)
            if (
                history.started is not None and history.started.attempt == lease.attempt
            ):  # it may have been leased again
                self._unlearned[lease.run_id, lease.attempt] = lease, history
        if self._follower.problem is not None:
            raise self._follower.problem
        if now - self._estimated >= self._estimate_s:
            self._estimated, self._time_left = now, self._estimate(view, now)
        return replace(view, time_left=self._time_left)

    def _estimate(self, view: SweepView, now: float) -> TimeLeft:
        """Estimate the time left by simulating the scheduler: longest task first, each on the slot where it ends first."""
        self._learn()
        if not self._estimator.known:
            return TimeLeft()
        leases = view.leases
        runs_s = {run_id: self._run_left_s(view, leases[run_id], now) for run_id in view.leased}
        free_in_s = {
            slot: 0.0 for slot in view.slots if slot not in view.disabled_slots and not view.pause_state.of_slot(slot)
        }
        busy: dict[str, float] = {}
        for run_id, slot in view.leased.items():
            busy[slot] = max(busy.get(slot, 0.0), runs_s[run_id])
        waiting = [
            Task(runs=(run,), epochs=_epochs_left(view, run)) for run in view.plan.runs if _is_waiting(view, run)
        ]
        size = view.engine.pack_size if view.engine else 1
        packs = pack(waiting, size, alone={lost.run_id for lost in view.lost})
        seconds = schedule(self._estimator, packs, {**free_in_s, **busy}).seconds
        return TimeLeft(
            sweep_s=seconds if math.isfinite(seconds) and not view.pause_state.all_paused else None, runs_s=runs_s
        )

    def _learn(self) -> None:
        for lease, history in self._unlearned.values():
            self._estimator.observe(self._plan.by_id[lease.run_id], lease.slot, lease.time, history)
        self._unlearned.clear()

    def _run_left_s(self, view: SweepView, lease: RunLeased, now: float) -> float:
        run, history = view.plan.by_id[lease.run_id], view.histories[lease.run_id]
        task = Task(runs=(run,) * len(view.given[lease.slot]), epochs=_epochs_left(view, run))
        last = history.epoch_events[-1].time if history.epoch_events else lease.time
        since = now - max(lease.time, last)
        one, none = (self._estimator.duration_s(replace(task, epochs=n), lease.slot) for n in (1, 0))
        late = max(0.0, since - one) if task.epochs else 0.0
        return max(0.0, none + task.epochs * (one - none + late) - since)


def _epochs_left(view: SweepView, run: Run) -> int:
    return max(0, run.epochs - view.histories[run.run_id].epochs_done)


def _is_waiting(view: SweepView, run: Run) -> bool:
    return not (view.is_over(run) or run.run_id in view.leased or run.run_id in view.pause_state.runs)
