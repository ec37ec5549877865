"""How long runs take: learned from those that have ended or are under way, for the scheduler and for the time left.

What the plan knows beforehand is each point's ``work``, a count of operations. How many seconds that makes depends on the
network (no two use a device equally well), on the depth (small layers use it badly) and on the slot. With ``t`` the mean
seconds per epoch of a run of a point on a slot, those of a pack divided by its runs, the model is ::

    log t = log work + mu + a_network + b_network (log work − mean of log work) + p_point + g_slot

with Gaussian priors around 0 on all but ``mu``, and its maximum a posteriori is the solution of a linear system. So a few
epochs of any run say something about every other one, and what was seen itself outweighs what follows from the others.
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
"""A mean over ``n`` epochs has the variance ``PAIR_SD² + EPOCH_SD² / n``: what ails a point on a slot does not average out."""
SHORTEST_S, LONGEST_S = 1e-6, 1e9
"""Bounds of an epoch's seconds, against clocks that are set in mid-run."""
NEWS = 0.01
"""The share of what a fit rests on that has to change before there is another one; of less than a hundred runs, any."""
SPEED_STEP = 0.1
"""Slots whose ``g`` round to the same multiple of this are scheduled as equally fast."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is left of a run, or of a pack: of runs of one point that train together."""

    runs: tuple[Run, ...]
    epochs: float
    """Those that are still to be done of each run."""

    @property
    def point(self) -> Point:
        return self.runs[0].point

    @property
    def run_epochs(self) -> float:
        return len(self.runs) * self.epochs


def pack(tasks: Iterable[Task], size: int, *, alone: Container[str] = ()) -> list[Task]:
    """The tasks, up to ``size`` put together where they can train together: as many epochs of one point are left to them.

    Returns:
        Packs in the order of their first runs. Runs whose ids are in ``alone`` go with no other.
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
class _Share:
    """What one attempt adds to the sums."""

    point: Point
    slot: str
    epochs: int
    seconds: float
    """Of all its epochs; of a pack's a run's share."""
    overhead_s: float | None
    """None where it cannot be told."""
    whole: bool
    """Whether the overhead includes the way from the last epoch to the end."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The model with its parameters put in."""

    overhead_s: float
    epoch_s: Mapping[Point, float]
    """``work exp(mu + a + b (…) + p)``: seconds per epoch on an average slot."""
    slots: Mapping[str, float]
    """``g`` of the slots that were seen; the others are taken to be average, which is 0."""


class Forecast:
    """Learns how long the runs of a plan take."""

    def __init__(self, plan: Plan) -> None:
        self._work = {run.point: plan.work[run.run_id] for run in plan.runs}
        self._shares: dict[tuple[str, float], _Share] = {}
        self._sums: dict[tuple[Point, str], tuple[int, float]] = {}
        self._fitted: _Fit | None = None
        self._news = 0
        """Shares that have changed since the last fit."""
        self._fits = 0

    @property
    def known(self) -> bool:
        """Whether anything has been observed, so that durations are seconds."""
        return bool(self._sums)

    def observe(self, run: Run, slot: str, leased: float, history: RunHistory) -> None:
        """Takes in what the run's last attempt, on ``slot`` since the time ``leased``, has told so far.

        It may be called again as the attempt goes on: what was learned from the same lease before is replaced.
        """
        key = (run.run_id, leased)
        before, now = self._shares.get(key), _share(run, slot, leased, history)
        if now == before:
            return
        if before is not None:
            self._add(self._shares.pop(key), -1)
        if now is not None:
            self._shares[key] = now
            self._add(now, 1)
        self._news += 1

    def duration_s(self, task: Task, slot: str) -> float:
        """Expected seconds from lease to end: ``overhead + runs epochs t``. Epochs times work as long as nothing is known."""
        fit = self._fit
        return fit.overhead_s + task.run_epochs * fit.epoch_s[task.point] * math.exp(fit.slots.get(slot, 0.0))

    def _add(self, share: _Share, sign: int) -> None:
        pair = (share.point, share.slot)
        epochs, seconds = self._sums.pop(pair, (0, 0.0))
        if epochs + sign * share.epochs:
            self._sums[pair] = (epochs + sign * share.epochs, seconds + sign * share.seconds)

    @property
    def _fit(self) -> _Fit:
        if not self.known:
            return _Fit(overhead_s=0.0, epoch_s=self._work, slots={})
        if self._fitted is None or self._news > NEWS * len(self._shares):
            self._fitted = _solve(self._work, self._sums, _median_overhead(list(self._shares.values())))
            self._news, self._fits = 0, self._fits + 1
        return self._fitted

    @property
    def revision(self) -> int:
        """A number that changes when expected durations do."""
        return self._fits if self._fit is self._fitted else 0


def _share(run: Run, slot: str, leased: float, history: RunHistory) -> _Share | None:
    """None if the attempt has no epoch yet, or none that makes sense.

    An epoch takes the time since the epoch before, which includes evaluation and checkpoint; the first one its own
    seconds. Summed up, ``first.seconds + last.time − first.time``. That is of all runs of a pack, of which each has its share.
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
    # Of an epoch that was taken up in its middle, the seconds hold those before this lease.
    told = started.from_step == 0 and math.isfinite(overhead)
    return _Share(
        point=run.point,
        slot=slot,
        epochs=epochs,
        seconds=epochs * min(max(seconds / epochs / started.pack_size, SHORTEST_S), LONGEST_S),
        overhead_s=overhead if told else None,
        whole=tail is not None,
    )


def _tail_s(history: RunHistory, last: EpochDone | Measured, leased: float) -> float | None:
    """Seconds from the last epoch to the end; None where there is no end, or one that broke off the next epoch."""
    ended = history.ended
    if ended is None or ended.time < leased or ended.status not in ("ok", "diverged"):
        return None
    return max(0.0, ended.time - last.time)


def _median_overhead(shares: Sequence[_Share]) -> float:
    """Over the whole ones if there are any: the others know only how they began."""
    import numpy as np

    told = [(share.whole, share.overhead_s) for share in shares if share.overhead_s is not None]
    some_whole = any(whole for whole, _ in told)
    values = [overhead for whole, overhead in told if whole or not some_whole]
    return float(np.median(values)) if values else 0.0


def _solve(work: Mapping[Point, float], sums: Mapping[tuple[Point, str], tuple[int, float]], overhead_s: float) -> _Fit:
    """The maximum a posteriori, from the normal equations.

    With the design ``X`` of all parameters but the slots, the matrix ``W`` of the weights of (point, slot) and the prior
    precisions ``R`` and ``r = 1 / SLOT_SD²`` they are ::

        [X' diag(W 1) X + R     X' W           ] [beta]   [X' (W ∘ Y) 1]
        [W' X                   diag(W' 1) + r ] [g   ] = [(W ∘ Y)' 1  ]

    The block of the slots is diagonal and goes first, so that a thousand of them cost little.
    """
    import numpy as np  # here, not above: it takes a tenth of a second that --help should not wait for

    rows, columns = _numbered(point for point, _ in sums), _numbered(slot for _, slot in sums)
    weights, weighted = np.zeros((2, len(rows), len(columns)))
    for (point, slot), (epochs, seconds) in sums.items():
        weight = 1 / (PAIR_SD**2 + EPOCH_SD**2 / epochs)
        weights[rows[point], columns[slot]] = weight
        weighted[rows[point], columns[slot]] = weight * math.log(max(SHORTEST_S, seconds / epochs) / work[point])
    trend, precision = _trend(work)
    places = _numbered(work)
    seen = [places[point] for point in rows]
    X = np.hstack([trend[seen], np.eye(len(seen))])
    R = np.diag(np.append(precision, np.full(len(seen), POINT_SD**-2)))
    coupling, diagonal = X.T @ weights, weights.sum(axis=0) + SLOT_SD**-2
    schur = X.T @ (weights.sum(axis=1)[:, None] * X) + R - (coupling / diagonal) @ coupling.T
    beta = np.linalg.solve(schur, X.T @ weighted.sum(axis=1) - coupling @ (weighted.sum(axis=0) / diagonal))
    g = (weighted.sum(axis=0) - coupling.T @ beta) / diagonal
    level = trend @ beta[: len(precision)]
    level[seen] += beta[len(precision) :]
    epoch_s = {point: work[point] * math.exp(value) for point, value in zip(work, level.tolist(), strict=True)}
    return _Fit(overhead_s=overhead_s, epoch_s=epoch_s, slots=dict(zip(columns, g.tolist(), strict=True)))


def _numbered(keys: Iterable[K]) -> dict[K, int]:
    return {key: number for number, key in enumerate(dict.fromkeys(keys))}


def _trend(work: Mapping[Point, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns of ``mu``, ``a`` and ``b`` with a row for each point, and the prior precision of each column."""
    import numpy as np

    networks = list(dict.fromkeys(point.network for point in work))
    one_hot = np.array([[float(point.network == network) for network in networks] for point in work])
    logs = np.log(np.array(list(work.values())))
    trend = np.hstack([np.ones((len(work), 1)), one_hot, one_hot * (logs - logs.mean())[:, None]])
    return trend, np.repeat([0.0, NETWORK_SD**-2, SLOPE_SD**-2], [1, len(networks), len(networks)])


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which task goes where."""

    first: Mapping[str, Task]
    """The task that each slot should begin with when it is free; slots that get none are absent."""
    seconds: float
    """Until everything has ended."""


def schedule(forecast: Forecast, waiting: Sequence[Task], free_in_s: Mapping[str, float]) -> Schedule:
    """List scheduling: the tasks by falling expected duration, each to the slot where it would end first.

    A slow slot thus stays idle rather than begin what a fast one would have done sooner. Equals keep their order. Only the
    slot of each speed that is free first is looked at.
    """
    if not free_in_s:
        return Schedule(first={}, seconds=math.inf if waiting else 0.0)
    first: dict[str, Task] = {}
    last_end = max(0.0, *free_in_s.values())
    for slot, task, end in _assigned(forecast, waiting, free_in_s):
        first.setdefault(slot, task)
        last_end = max(last_end, end)
    return Schedule(first=first, seconds=last_end)


def first_tasks(
    forecast: Forecast, waiting: Collection[Task], free_in_s: Mapping[str, float], slots: Set[str]
) -> Mapping[str, Task]:
    """What these slots begin with in such a schedule, which is not followed further than that takes."""
    first: dict[str, Task] = {}
    for slot, task, _ in _assigned(forecast, waiting, free_in_s):
        if slot in slots:
            first.setdefault(slot, task)
            if len(first) == len(slots):
                break
    return first


def _assigned(
    forecast: Forecast, waiting: Collection[Task], free_in_s: Mapping[str, float]
) -> Iterator[tuple[str, Task, float]]:
    """Slot, task and when that ends, the longest first."""
    fit = forecast._fit
    names, speeds = list(free_in_s), _speeds(fit, free_in_s)
    durations = [task.run_epochs * fit.epoch_s[task.point] for task in waiting]
    for task, duration in sorted(zip(waiting, durations, strict=True), key=lambda pair: -pair[1]):
        ends = ((slots[0][0] + fit.overhead_s + duration * factor, slots[0][1], slots) for factor, slots in speeds)
        end, number, slots = min(ends)
        heapq.heapreplace(slots, (end, number))
        yield names[number], task, end


def _speeds(fit: _Fit, free_in_s: Mapping[str, float]) -> list[tuple[float, list[tuple[float, int]]]]:
    """For each class of speed its mean ``exp(g)`` and a heap of (seconds until free, number) of its slots."""
    logs = [fit.slots.get(slot, 0.0) for slot in free_in_s]
    classes: dict[int, list[tuple[float, int]]] = {}
    for number, (g, seconds) in enumerate(zip(logs, free_in_s.values(), strict=True)):
        classes.setdefault(round(g / SPEED_STEP), []).append((max(0.0, seconds), number))
    for slots in classes.values():
        heapq.heapify(slots)
    return [
        (math.fsum(math.exp(logs[number]) for _, number in slots) / len(slots), slots) for slots in classes.values()
    ]
