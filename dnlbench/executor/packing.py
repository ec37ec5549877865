"""Pack sizes: how many runs train together, and how many packs result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import ceil

from dnlbench.errors import ConfigurationError
from dnlbench.plan import Plan, Run


def resolve_pack_size(plan: Plan, asked: int | None) -> int:
    """Return the maximum number of runs in a pack for the requested size; None means 1.

    Raises:
        ConfigurationError: if the study cannot train several runs together.
    """
    size = asked or 1
    if size > 1 and not plan.study.packs:
        raise ConfigurationError(
            f"--pack {size}: runs of the study {plan.study.name!r} cannot train together; choose --pack off"
        )
    return size


def count_packs(runs: Iterable[Run], pack_size: int) -> int:
    """Count the packs, if no run has to train alone."""
    return sum(ceil(count / pack_size) for count in Counter(run.point for run in runs).values())


def at_a_time(slots: int, pack_size: int) -> str:
    """Describe the concurrency: ``2 at a time``, ``2 packs of up to 4 runs at a time``."""
    packs = f" pack{'s' if slots > 1 else ''} of up to {pack_size} runs" if pack_size > 1 else ""
    return f"{slots}{packs} at a time"
