"""Memory claims of runs on a cluster, from the estimates of the plan and the size of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench.events import DataInfo, PointMemory
from dnlbench.executor.capacity import WORKER_BYTES
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run

INITIAL_CLAIM_BYTES = 2**30
"""Claim before the needs are known, and for runs whose memory cannot be estimated."""


class Claims:
    """Claims on main memory.

    On a GPU, the arrays of a run are in the GPU's memory, which Ray does not count; the data are in main memory.
    """

    def __init__(
        self,
        plan: Plan,
        data: DataInfo,
        slots: Sequence[Slot],
        *,
        left: Sequence[Run],
        pack_size: int,
        largest_bytes: int,
        measured: Iterable[PointMemory] = (),
    ) -> None:
        """Estimate the claims of the remaining runs. No machine offers more than ``largest_bytes``."""
        self._plan = plan
        self._largest_bytes = largest_bytes
        self._worker_bytes = WORKER_BYTES + data.loaded_bytes
        self._needs = dict.fromkeys(plan.spec.points, 0)
        if slots[0].device.kind == "cpu":
            needs = plan.memory_bytes(data, measured)
            self._needs = {point: need or INITIAL_CLAIM_BYTES for point, need in needs.items()}
        self._by_size = sorted((self._needs[run.point] for run in left or plan.runs), reverse=True)
        self._pack_size = pack_size

    def of(self, run_ids: Iterable[str]) -> int:
        """Return the bytes that a worker needs to train these runs together."""
        return self._with_worker(self._needs[self._plan.by_id[run_id].point] for run_id in run_ids)

    def of_slot(self, number: int) -> int:
        """Return the bytes that a slot probably needs first: the longest runs start first, and they are mostly the largest."""
        begin = number * self._pack_size % len(self._by_size)
        return self._with_worker(self._by_size[begin : begin + self._pack_size])

    def _with_worker(self, needs: Iterable[int]) -> int:
        return min(sum(needs) + self._worker_bytes, self._largest_bytes)


def claim_fits(claimed: int, needed: int) -> bool:
    """Return True if a claim is sufficient and not wastefully large."""
    return needed <= claimed <= 2 * needed + INITIAL_CLAIM_BYTES
