"""How many runs train together, and how many packs that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import ceil

from dnlbench.errors import ConfigurationError
from dnlbench.plan import Plan, Run


def resolve_pack_size(plan: Plan, asked: int | None) -> int:
    """Runs of a pack at most, for what was asked; None is one.

    Raises:
        ConfigurationError: if runs are asked to train together that cannot.
    """
    size = asked or 1
    if size > 1 and not plan.study.packs:
        raise ConfigurationError(
            f"--pack {size}: runs of the study {plan.study.name!r} cannot be carried out together; choose --pack off"
        )
    return size


def count_packs(runs: Iterable[Run], pack_size: int) -> int:
    """Packs that runs make if none of them has to go alone."""
    return sum(ceil(count / pack_size) for count in Counter(run.point for run in runs).values())


def at_a_time(slots: int, pack_size: int) -> str:
    """``2 at a time``, ``2 packs of up to 4 runs at a time``."""
    packs = f" pack{'s' if slots > 1 else ''} of up to {pack_size} runs" if pack_size > 1 else ""
    return f"{slots}{packs} at a time"
