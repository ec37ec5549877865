"""Estimates of run durations, learned from finished and running runs. The scheduler and the time left use them.

The plan gives each point's ``work``, a count of operations. The seconds that this work takes depend on the network (no two
use a device equally well), on the depth (small layers use it badly) and on the slot. Let ``t`` be the mean seconds per epoch
of a run of a point on a slot; for a pack, its seconds divided by the number of runs. The model is ::

    log t = log work + mu + a_network + b_network (log work − mean of log work) + p_point + g_slot

with Gaussian priors centered at 0 on all parameters except ``mu``. The maximum a posteriori solves a linear system. A few
epochs of any run therefore inform the estimate of every other run, and a run's own epochs weigh more than the others'.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dnlbench.events import EpochDone, Measured, RunHistory
from dnlbench.plan import Plan, Run
from dnlbench.studies import Point

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = TypeVar("K")

NETWORK_SD, SLOPE_SD, POINT_SD, SLOT_SD = 1.0, 0.3, 0.2, 0.7
"""Standard deviations of the priors of ``a``, ``b``, ``p`` and ``g``."""
PAIR_SD, EPOCH_SD = 0.05, 0.1
"""A mean over ``n`` epochs has the variance ``PAIR_SD² + EPOCH_SD² / n``: effects of a point on a slot do not average out."""
SHORTEST_S, LONGEST_S = 1e-6, 1e9
"""Bounds of an epoch's seconds, in case the clock is set during a run."""
REFIT_FRACTION = 0.01
"""Fraction of the observations that must change before the model is fitted again. Below 100 runs, any change does it."""
SPEED_STEP = 0.1
"""Slots whose ``g`` round to the same multiple of this value are scheduled as equally fast."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The remaining epochs of a run, or of a pack of runs of one point that train together."""

    runs: tuple[Run, ...]
    epochs: float
    """Remaining epochs of each run."""

    @property
    def point(self) -> Point:
        return self.runs[0].point

    @property
    def run_epochs(self) -> float:
        return len(self.runs) * self.epochs


def pack(tasks: Iterable[Task], size: int, *, alone: Container[str] = ()) -> list[Task]:
    """Group tasks into packs of up to ``size`` runs. Runs of one point with equally many remaining epochs can share a pack.

    Returns:
        Packs in the order of their first runs. Runs whose ids are in ``alone`` are not packed.
    """
    if size == 1:
        return list(tasks)
    packs: list[list[Task]] = []
    open_packs: dict[tuple[Point, float], list[Task]] = {}
    for task in tasks:
        key = (task.point, task.epochs)
        with_others = task.runs[0].run_id not in alone
        together = open_packs.get(key) if with_others else None
        if together is None or len(together) == size:
            together = []
            packs.append(together)
            if with_others:
                open_packs[key] = together
        together.append(task)
    return [Task(runs=tuple(task.runs[0] for task in tasks), epochs=tasks[0].epochs) for tasks in packs]


@dataclass(frozen=True, kw_only=True)
class _Observation:
    """The contribution of one attempt to the sums."""

    point: Point
    slot: str
    epochs: int
    seconds: float
    """Total of all its epochs, divided by the number of runs if the attempt was part of a pack."""
    overhead_s: float | None
    """None if unknown."""
    is_complete: bool
    """The overhead includes the time from the last epoch to the end of the run."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The fitted model."""

    overhead_s: float
    epoch_s: Mapping[Point, float]
    """``work exp(mu + a + b (…) + p)``: seconds per epoch on an average slot."""
    slots: Mapping[str, float]
    """``g`` of the observed slots. Other slots are assumed to be average: 0."""


class DurationEstimator:
    """A model of how long the runs of a plan take."""

    def __init__(self, plan: Plan) -> None:
        self._work = {run.point: plan.work[run.run_id] for run in plan.runs}
        self._observations: dict[tuple[str, float], _Observation] = {}
        self._sums: dict[tuple[Point, str], tuple[int, float]] = {}
        self._fitted: _Fit | None = None
        self._changes = 0
        """Number of observations that changed since the last fit."""
        self._fits = 0

    @property
    def known(self) -> bool:
        """True once something has been observed, so that durations are in seconds."""
        return bool(self._sums)

    def observe(self, run: Run, slot: str, leased: float, history: RunHistory) -> None:
        """Add the history of a run's last attempt, which runs on ``slot`` since the time ``leased``.

        Call it again as the attempt continues: the new observation replaces the earlier one of the same lease.
        """
        key = (run.run_id, leased)
        before, now = self._observations.get(key), _observation(run, slot, leased, history)
        if now == before:
            return
        if before is not None:
            self._add(self._observations.pop(key), -1)
        if now is not None:
            self._observations[key] = now
            self._add(now, 1)
        self._changes += 1

    def duration_s(self, task: Task, slot: str) -> float:
        """Return the expected seconds from lease to end, ``overhead + runs epochs t``.

        Without observations, the result is epochs times work and only the order of tasks is meaningful.
        """
        fit = self._fit
        return fit.overhead_s + task.run_epochs * fit.epoch_s[task.point] * math.exp(fit.slots.get(slot, 0.0))

    def _add(self, observation: _Observation, sign: int) -> None:
        pair = (observation.point, observation.slot)
        epochs, seconds = self._sums.pop(pair, (0, 0.0))
        if epochs + sign * observation.epochs:
            self._sums[pair] = (epochs + sign * observation.epochs, seconds + sign * observation.seconds)

    @property
    def _fit(self) -> _Fit:
        if not self.known:
            return _Fit(overhead_s=0.0, epoch_s=self._work, slots={})
        if self._fitted is None or self._changes > REFIT_FRACTION * len(self._observations):
            self._fitted = _solve(self._work, self._sums, _median_overhead(list(self._observations.values())))
            self._changes, self._fits = 0, self._fits + 1
        return self._fitted

    @property
    def revision(self) -> int:
        """A number that changes whenever the expected durations change."""
        return self._fits if self._fit is self._fitted else 0


def _observation(run: Run, slot: str, leased: float, history: RunHistory) -> _Observation | None:
    """Return None if the attempt has no valid epoch yet.

    An epoch lasts from the end of the previous one, including evaluation and checkpoint; for the first epoch, only its own
    seconds count. The sum is ``first.seconds + last.time − first.time``. For a pack, this time covers all of its runs.
    """
    started = history.started
    if started is None:
        return None
    first = history.measured or history.epochs.first_since(started.from_epoch + 1, leased)
    if first is None or first.time < leased:
        return None
    last = history.epoch_events[-1]
    epochs, seconds = last.epoch - first.epoch + 1, first.seconds + last.time - first.time
    if not math.isfinite(seconds):
        return None
    tail = _tail_s(history, last, leased)
    overhead = max(0.0, first.time - leased - first.seconds) + (tail or 0.0)
    # The seconds of an epoch that resumed in the middle include those before this lease.
    is_known = started.from_step == 0 and math.isfinite(overhead)
    return _Observation(
        point=run.point,
        slot=slot,
        epochs=epochs,
        seconds=epochs * min(max(seconds / epochs / started.pack_size, SHORTEST_S), LONGEST_S),
        overhead_s=overhead if is_known else None,
        is_complete=tail is not None,
    )


def _tail_s(history: RunHistory, last: EpochDone | Measured, leased: float) -> float | None:
    """Return the seconds from the last epoch to the end; None if the run has not ended or ended during an epoch."""
    ended = history.ended
    if ended is None or ended.time < leased or ended.status not in ("ok", "diverged"):
        return None
    return max(0.0, ended.time - last.time)


def _median_overhead(observations: Sequence[_Observation]) -> float:
    """Use only complete observations if there are any: the others miss the time after the last epoch."""
    import numpy as np

    overheads = [(each.is_complete, each.overhead_s) for each in observations if each.overhead_s is not None]
    any_complete = any(is_complete for is_complete, _ in overheads)
    values = [overhead for is_complete, overhead in overheads if is_complete or not any_complete]
    return float(np.median(values)) if values else 0.0


def _solve(work: Mapping[Point, float], sums: Mapping[tuple[Point, str], tuple[int, float]], overhead_s: float) -> _Fit:
    """Compute the maximum a posteriori from the normal equations.

    Let ``X`` be the design matrix of all parameters except the slots', ``W`` the matrix of the weights of (point, slot), and
    ``R`` and ``r = 1 / SLOT_SD²`` the prior precisions. The equations are ::

        [X' diag(W 1) X + R     X' W           ] [beta]   [X' (W ∘ Y) 1]
        [W' X                   diag(W' 1) + r ] [g   ] = [(W ∘ Y)' 1  ]

    The diagonal block of the slots is eliminated first, so a thousand slots cost little.
    """
    import numpy as np  # deferred: the import takes 0.1 s, which --help should not pay

    rows, columns = _numbered(point for point, _ in sums), _numbered(slot for _, slot in sums)
    weights, weighted = np.zeros((2, len(rows), len(columns)))
    for (point, slot), (epochs, seconds) in sums.items():
        weight = 1 / (PAIR_SD**2 + EPOCH_SD**2 / epochs)
        weights[rows[point], columns[slot]] = weight
        weighted[rows[point], columns[slot]] = weight * math.log(max(SHORTEST_S, seconds / epochs) / work[point])
    design, precision = _design(work)
    index_of = _numbered(work)
    seen = [index_of[point] for point in rows]
    X = np.hstack([design[seen], np.eye(len(seen))])
    R = np.diag(np.append(precision, np.full(len(seen), POINT_SD**-2)))
    coupling, diagonal = X.T @ weights, weights.sum(axis=0) + SLOT_SD**-2
    schur = X.T @ (weights.sum(axis=1)[:, None] * X) + R - (coupling / diagonal) @ coupling.T
    beta = np.linalg.solve(schur, X.T @ weighted.sum(axis=1) - coupling @ (weighted.sum(axis=0) / diagonal))
    g = (weighted.sum(axis=0) - coupling.T @ beta) / diagonal
    level = design @ beta[: len(precision)]
    level[seen] += beta[len(precision) :]
    epoch_s = {point: work[point] * math.exp(value) for point, value in zip(work, level.tolist(), strict=True)}
    return _Fit(overhead_s=overhead_s, epoch_s=epoch_s, slots=dict(zip(columns, g.tolist(), strict=True)))


def _numbered(keys: Iterable[K]) -> dict[K, int]:
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}


def _design(work: Mapping[Point, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the columns of ``mu``, ``a`` and ``b`` with one row per point, and the prior precision of each column."""
    import numpy as np

    networks = list(dict.fromkeys(point.series for point in work))
    one_hot = np.array([[float(point.series == network) for network in networks] for point in work])
    logs = np.log(np.array(list(work.values())))
    design = np.hstack([np.ones((len(work), 1)), one_hot, one_hot * (logs - logs.mean())[:, None]])
    return design, np.repeat([0.0, NETWORK_SD**-2, SLOPE_SD**-2], [1, len(networks), len(networks)])


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """An assignment of tasks to slots."""

    first: Mapping[str, Task]
    """The first task of each slot once the slot is free. Slots without a task are absent."""
    seconds: float
    """Seconds until all tasks have ended."""


def schedule(estimator: DurationEstimator, waiting: Sequence[Task], free_in_s: Mapping[str, float]) -> Schedule:
    """Assign tasks by list scheduling: the longest first, each to the slot where it would end first.

    A slow slot stays idle if a fast slot would finish the task sooner. Tasks of equal duration keep their order. Of the slots
    with equal speed, only the one that is free first is considered.
    """
    if not free_in_s:
        return Schedule(first={}, seconds=math.inf if waiting else 0.0)
    first: dict[str, Task] = {}
    last_end = max(0.0, *free_in_s.values())
    for slot, task, end in _assigned(estimator, waiting, free_in_s):
        first.setdefault(slot, task)
        last_end = max(last_end, end)
    return Schedule(first=first, seconds=last_end)


def first_tasks(
    estimator: DurationEstimator, waiting: Collection[Task], free_in_s: Mapping[str, float], slots: Set[str]
) -> Mapping[str, Task]:
    """Return the first tasks of these slots in the same schedule, without computing the rest of it."""
    first: dict[str, Task] = {}
    for slot, task, _ in _assigned(estimator, waiting, free_in_s):
        if slot in slots:
            first.setdefault(slot, task)
            if len(first) == len(slots):
                break
    return first


def _assigned(
    estimator: DurationEstimator, waiting: Collection[Task], free_in_s: Mapping[str, float]
) -> Iterator[tuple[str, Task, float]]:
    """Yield slot, task and end time, the longest task first."""
    fit = estimator._fit
    names, speeds = list(free_in_s), _speeds(fit, free_in_s)
    durations = [task.run_epochs * fit.epoch_s[task.point] for task in waiting]
    for task, duration in sorted(zip(waiting, durations, strict=True), key=lambda pair: -pair[1]):
        ends = ((slots[0][0] + fit.overhead_s + duration * factor, slots[0][1], slots) for factor, slots in speeds)
        end, number, slots = min(ends)
        heapq.heapreplace(slots, (end, number))
        yield names[number], task, end


def _speeds(fit: _Fit, free_in_s: Mapping[str, float]) -> list[tuple[float, list[tuple[float, int]]]]:
    """Return, for each class of speed, its mean ``exp(g)`` and a heap of (seconds until free, number) of its slots."""
    logs = [fit.slots.get(slot, 0.0) for slot in free_in_s]
    classes: dict[int, list[tuple[float, int]]] = {}
    for number, (g, seconds) in enumerate(zip(logs, free_in_s.values(), strict=True)):
        classes.setdefault(round(g / SPEED_STEP), []).append((max(0.0, seconds), number))
    for slots in classes.values():
        heapq.heapify(slots)
    return [
        (math.fsum(math.exp(logs[number]) for _, number in slots) / len(slots), slots) for slots in classes.values()
    ]
