"""How many runs train together, and how many packs that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil

from dnlbench.errors import ConfigurationError
from dnlbench.machine import Slot
from dnlbench.plan import Plan, Run


def resolve_pack_size(plan: Plan, slots: Sequence[Slot], *, asked: int | None) -> int:
    """Runs of a pack at most, for what was asked; None leaves it to `choose_pack_size`.

    Raises:
        ConfigurationError: if runs are asked to train together that cannot.
    """
    if not plan.study.packs:
        if (asked or 1) > 1:
            raise ConfigurationError(
                f"--pack {asked}: runs of the study {plan.study.name!r} cannot be carried out together; choose --pack off"
            )
        return 1
    return choose_pack_size(plan, slots) if asked is None else asked


def choose_pack_size(plan: Plan, slots: Sequence[Slot]) -> int:
    """Runs that should train together, at most, if it is left to dnlbench and nothing was measured; see `tuning`.

    The run directory depends on it, so it has to be the same whenever it is asked for the same plan on the same slots.

    Args:
        plan: of a study whose runs can be packed.
        slots: all that may be used, however few of them the plan has packs for.
    """
    return 1


def count_packs(runs: Iterable[Run], pack_size: int) -> int:
    """Packs that runs make if none of them has to go alone."""
    return sum(ceil(count / pack_size) for count in Counter(run.point for run in runs).values())


def at_a_time(slots: int, pack_size: int) -> str:
    """``2 at a time``, ``2 packs of up to 4 runs at a time``."""
    packs = f" pack{'s' if slots > 1 else ''} of up to {pack_size} runs" if pack_size > 1 else ""
    return f"{slots}{packs} at a time"
