"""Axes of sweeps in all studies: depths and seeds with distinct values, and a limit on the number of runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dnlbench.studies.added import Added
from dnlbench.studies.base import Section, Settings, hashable, settings_of

T = TypeVar("T")

MOST_RUNS = 100_000
"""Maximum number of runs of a sweep. The limits here are far above practical sizes; they catch typing errors early."""
MOST_SEEDS = 10_000
MOST_LAYERS = 10_000


def distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return the values, or reject them if a value occurs twice."""
    counts = Counter(values)
    if len(counts) < len(values):
        first = next(value for value in values if counts[value] > 1)
        raise PydanticCustomError("repeated", "{value}: list each value once", {"value": repr(first)})
    return values


def _seed_list(value: Any) -> Any:
    """Convert a count ``n`` to the seeds ``0 .. n − 1``."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_SEEDS:
        return tuple(range(value))
    if isinstance(value, list | tuple):
        return tuple(value)
    raise PydanticCustomError("seeds", f"must be a list of seeds, or a count from 1 to {MOST_SEEDS:,}")


Axis = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(distinct)]
"""A nonempty tuple of distinct values."""
Depth = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Depths = Axis[Depth]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
SeedCount = Annotated[int, Field(ge=1, le=MOST_SEEDS)]
SeedList = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS), AfterValidator(distinct)]
Seeds = Annotated[SeedList, BeforeValidator(_seed_list, json_schema_input_type=SeedCount | SeedList)]


def _flat(value: Any) -> Any:
    """Flatten nested tables of a grid into dotted keys: TOML reads ``train.lr = [1]`` as a table in a table."""
    if not isinstance(value, dict):
        return hashable(value)
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= (
            {f"{key}.{name}": values for name, values in _flat(inner).items()}
            if isinstance(inner, dict)
            else {key: _flat(inner)}
        )
    return flat


def _union(axes: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(value for axis in axes for value in axis))


Grid = Annotated[dict[str, Axis[Any]], BeforeValidator(_flat)]


class Axes(Section):
    """The ``[sweep]`` table of a study. Each key is an axis, including ``depths`` and ``seeds``."""

    grid: Annotated[Grid, Added(before={})] = Field(default_factory=dict)
    """Other keys of the spec as axes, such as `"train.lr" = [0.01, 0.03]`. Every combination of their values is trained."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Put the grid after the axes of the study, as forms, tables of keys and documents show it."""
        super().__pydantic_init_subclass__(**kwargs)
        fields = cls.__pydantic_fields__
        fields["grid"] = fields.pop("grid")
        cls.model_rebuild(force=True)

    @property
    def settings(self) -> tuple[Settings, ...]:
        """All combinations of values of the grid; a single empty one without a grid."""
        keys = list(self.grid)
        return tuple(settings_of(dict(zip(keys, values, strict=True))) for values in product(*self.grid.values()))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each axis, the keys of the grid last. Empty optional axes are left out."""
        axes = (*((name, values) for name, values in self if name != "grid"), *self.grid.items())
        return {name: len(values) for name, values in axes if values}

    def joined(self, others: Iterable[Self]) -> Self:
        """Return axes with the values of the others too. Their grids have the same keys."""
        every = (self, *others)
        values = {
            name: _union(getattr(axes, name) for axes in every) for name in type(self).model_fields if name != "grid"
        }
        grid = {key: _union(axes.grid.get(key, ()) for axes in every) for key in self.grid}
        return self.model_copy(update={**values, "grid": grid})

    @model_validator(mode="after")
    def _runs_are_not_too_many(self) -> Self:
        counts = self.sizes
        if (runs := math.prod(counts.values())) > MOST_RUNS:
            axes = " × ".join(f"{name} ({count:,})" for name, count in counts.items())
            raise PydanticCustomError(
                "too_many_runs", f"{axes} = {runs:,} runs; a sweep may have at most {MOST_RUNS:,}"
            )
        return self
