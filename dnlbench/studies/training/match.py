"""Equal budgets: the width or the number of epochs at each depth with the budget of a reference depth.

Parameters, operations and time are the estimates of `dnlbench.studies.training.size`, so the same spec has the same runs on
every machine. Time is the plan's relative cost: products plus elementwise passes at their equivalent cost on a CPU. Measured
times differ from it, on other devices and in small networks, and reports show by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from dnlbench.architecture import ARCHITECTURES, Architecture
from dnlbench.studies.added import Added
from dnlbench.studies.axes import Depth
from dnlbench.studies.base import InputShape, Match, Section, refuse
from dnlbench.studies.training.size import Size, network_size

if TYPE_CHECKING:
    from dnlbench.studies.training.spec import NetworkSettings, TrainingSpec

Matched = Literal["parameters", "flops", "time"]
WIDEST = 2**16
"""Largest width that matching tries, the limit of `network.width`."""


class MatchSettings(Section):
    """``[match]``: equal budgets at all depths."""

    quantity: Annotated[Matched | None, Added(before=None)] = None
    """The budget that all depths share: parameters, or the flops or estimated time of the whole training. Default: none."""
    at: Annotated[Depth | None, Added(before=None)] = None
    """The reference depth, whose runs have the settings of the spec. Required with quantity."""
    vary: Annotated[Literal["width", "epochs"], Added(before="width")] = "width"
    """The setting to choose for each depth: the width (network.growth_rate of dense networks, network.width of others) or
    train.epochs."""


def match_depth(spec: TrainingSpec, network: str, depth: int) -> Match | None:
    """Choose the setting of a network at a depth; None without ``[match]``."""
    known = spec.data.known_input
    if spec.match.quantity is None or known is None:
        return None
    settings = spec.network.model_copy(update={"options": ()})  # those of custom networks, which cannot be hashed
    return _match(spec.match, ARCHITECTURES[network], depth, *known, settings, spec.train.epochs)


@lru_cache(maxsize=4096)
def _match(
    match: MatchSettings,
    architecture: Architecture,
    depth: int,
    shape: InputShape,
    classes: int,
    settings: NetworkSettings,
    epochs: int,
) -> Match:
    assert match.quantity is not None
    assert match.at is not None
    key, measure = width_key(architecture), _MEASURES[match.quantity]

    def budget(depth: int, **changes: int) -> float:
        return measure(network_size(architecture, depth, shape, classes, settings.model_copy(update=changes)))

    target = budget(match.at)
    if match.vary == "epochs":
        value = epochs if depth == match.at else max(1, round(epochs * target / budget(depth)))
        mismatch = value * budget(depth) / (epochs * target) - 1
        return Match(quantity=match.quantity, key="train.epochs", value=value, mismatch=mismatch)
    value = _nearest(lambda width: budget(depth, **{key: width}), target)
    mismatch = budget(depth, **{key: value}) / target - 1
    return Match(quantity=match.quantity, key=f"network.{key}", value=value, mismatch=mismatch)


_MEASURES: dict[Matched, Callable[[Size], float]] = {
    "parameters": lambda size: size.parameters,
    "flops": lambda size: size.flops,
    "time": lambda size: size.work,
}


def width_key(architecture: Architecture) -> Literal["growth_rate", "width"]:
    """Return the key of ``[network]`` with the width of an architecture."""
    return "growth_rate" if architecture.dense else "width"


def _nearest(budget: Callable[[int], float], target: float) -> int:
    """Return the width whose budget, which increases with it, has the smallest ratio to the target or from it."""
    low, high = 0, 1
    while high < WIDEST and budget(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if budget(middle) < target else (low, middle)
    return min(filter(None, (low, high)), key=lambda width: abs(math.log(budget(width) / target)))


def check_match(spec: TrainingSpec, fixed: Collection[str] = ()) -> None:
    """Reject a ``[match]`` that cannot be computed.

    Args:
        spec: the spec.
        fixed: dotted keys that other parts of the spec set at each point.
    """
    match = spec.match
    if match.quantity is None:
        for key in ("at", "vary"):
            if getattr(match, key) != MatchSettings.model_fields[key].default:
                refuse(f"match.{key}", getattr(match, key), "has an effect only with match.quantity")
        return
    if match.at is None:
        refuse("match.quantity", match.quantity, "requires match.at, the reference depth")
    if match.vary == "epochs" and match.quantity == "parameters":
        refuse("match.vary", match.vary, 'does not change parameters; use match.quantity = "flops" or "time"')
    if custom := [name for name in spec.networks if name not in ARCHITECTURES]:
        reason = f"the budget of {custom[0]} is unknown before it trains; only built-in networks can be matched"
        refuse("match.quantity", match.quantity, reason)
    if spec.data.known_input is None:
        reason = f"requires data of known shape and classes, and those of {spec.data.dataset} are in its files"
        refuse("match.quantity", match.quantity, reason)
    chosen = {f"network.{width_key(ARCHITECTURES[name])}" for name in spec.networks}
    for key in sorted({"train.epochs"} if match.vary == "epochs" else chosen):
        if key in fixed:
            refuse(f"sweep.grid.{key}", key, f"[match] chooses {key} for each depth; remove one of them")
