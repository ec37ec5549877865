"""How much of a machine's memory runs claim on a cluster, by what the plan and the data need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dnlbench.events import DataInfo
from dnlbench.executor.capacity import WORKER_BYTES
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run

INITIAL_CLAIM_BYTES = 2**30
"""For finding out what runs need; and for a run of a network of one's own, of which nothing can be foreseen."""


class Claims:
    """Claims on main memory. On a GPU the arrays of a run are in the GPU's own, which comes with it; the data are read here."""

    def __init__(
        self,
        plan: Plan,
        data: DataInfo,
        slots: Sequence[Slot],
        *,
        left: Sequence[Run],
        pack_size: int,
        largest_bytes: int,
    ) -> None:
        """Estimate the claims of the runs that are left. No machine has more than ``largest_bytes`` to give."""
        self._plan = plan
        self._largest_bytes = largest_bytes
        self._worker_bytes = WORKER_BYTES + data.loaded_bytes
        self._needs = dict.fromkeys(plan.spec.points, 0)
        if slots[0].device.kind == "cpu":
            estimates = {point: plan.estimate(point, data.input_shape, data.classes) for point in plan.spec.points}
            self._needs = {point: each.memory_bytes or INITIAL_CLAIM_BYTES for point, each in estimates.items()}
        self._by_size = sorted((self._needs[run.point] for run in left or plan.runs), reverse=True)
        self._pack_size = pack_size

    def of(self, run_ids: Iterable[str]) -> int:
        """Bytes that a worker takes which trains these together."""
        return self._with_worker(self._needs[self._plan.by_id[run_id].point] for run_id in run_ids)

    def of_slot(self, number: int) -> int:
        """Bytes that a slot is likely to need first: the longest runs come first, which are mostly the largest."""
        begin = number * self._pack_size % len(self._by_size)
        return self._with_worker(self._by_size[begin : begin + self._pack_size])

    def _with_worker(self, needs: Iterable[int]) -> int:
        return min(sum(needs) + self._worker_bytes, self._largest_bytes)


def claim_fits(claimed: int, needed: int) -> bool:
    """Whether what was claimed does for what is needed, and does not keep much from others."""
    return needed <= claimed <= 2 * needed + INITIAL_CLAIM_BYTES
