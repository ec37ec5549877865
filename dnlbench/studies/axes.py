"""The axes that sweeps of all studies have: depths and seeds, each value named once, and not too many runs in all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sized
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

T = TypeVar("T")

MOST_RUNS = 100_000
"""Of one sweep. The limits here and below are far beyond what can be run; they tell a slip before it takes all memory."""
MOST_SEEDS = 10_000
MOST_LAYERS = 10_000


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """The values, refused if one occurs twice."""
    counts = Counter(values)
    if len(counts) < len(values):
        first = next(value for value in values if counts[value] > 1)
        raise PydanticCustomError("repeated", "{value}: list each value once", {"value": repr(first)})
    return values


def _seed_list(value: Any) -> Any:
    """A count ``n`` stands for the seeds ``0 .. n − 1``."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_SEEDS:
        return tuple(range(value))
    if isinstance(value, list | tuple):
        return tuple(value)
    raise PydanticCustomError("seeds", f"must be a list of seeds, or a count from 1 to {MOST_SEEDS:,}")


Depth = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1), AfterValidator(distinct)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
SeedCount = Annotated[int, Field(ge=1, le=MOST_SEEDS)]
SeedList = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS), AfterValidator(distinct)]
Seeds = Annotated[SeedList, BeforeValidator(_seed_list, json_schema_input_type=SeedCount | SeedList)]


def check_run_count(**axes: Sized) -> None:
    """Refuses axes whose product is more than `MOST_RUNS`."""
    runs = math.prod(len(values) for values in axes.values())
    if runs > MOST_RUNS:
        counts = " × ".join(f"{name} ({len(values):,})" for name, values in axes.items())
        raise PydanticCustomError("too_many_runs", f"{counts} = {runs:,} runs; a sweep may have at most {MOST_RUNS:,}")
