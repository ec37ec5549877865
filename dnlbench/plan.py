"""The plan of a sweep: the runs of a spec, each with an id."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dnlbench.events import DataInfo, PointMemory
from dnlbench.spec import content_hash, spec_hash
from dnlbench.studies import STUDIES, Estimate, Point, Study, StudySpec
from dnlbench.studies.base import InputShape, Match, Settings, settings_of

LONGEST_LABEL = 60
"""Maximum number of characters of the settings in a run id."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A seed at a point."""

    run_id: str
    """Readable id that is unique to what the run computes: point, seed and all relevant settings."""
    point: Point
    seed: int
    epochs: int
    """Number of requested epochs. Runs that differ only in this number have the same id."""
    matched: Match | None = None
    """The setting chosen for the run's depth; None if all depths have the settings of the spec."""

    @property
    def title(self) -> str:
        """Readable title: ``densenet L=8 seed 0``."""
        return title((self,))


def title(runs: Sequence[Run]) -> str:
    """Return a title of runs of one point: ``densenet L=8 seed 3``, ``… seeds 0–4``, ``… seeds 0, 2``."""
    point, seeds = runs[0].point, [run.seed for run in runs]
    return f"{point.title} {_seeds(seeds)}"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


@dataclass(frozen=True)
class Plan:
    """A spec and its runs."""

    spec: StudySpec

    @cached_property
    def study(self) -> Study:
        """The study with the quantities, metrics and fits of this sweep."""
        return STUDIES[self.spec.study].of(self.spec.model_dump())

    @cached_property
    def specs(self) -> Mapping[Settings, StudySpec]:
        """The spec of each combination of the grid's values, without a grid."""
        return {settings: self.spec.with_settings(settings) for settings in self.spec.sweep.settings}

    @cached_property
    def spec_hash(self) -> str:
        """Hash of the spec."""
        return spec_hash(self.spec)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All runs: points in the order of the spec, with their seeds."""
        return tuple(run for point in self.spec.points for run in self._runs_at(point))

    def _runs_at(self, point: Point) -> Iterator[Run]:
        spec, matched = self.spec_at(point), self.specs[point.settings].matched(point)
        settings = self._settings[point.settings] if matched is None else self._settings_of(spec)
        for seed in self.spec.seeds:
            identity = content_hash({"settings": settings, "point": point.identity, "seed": seed}, digits=8)
            run_id = f"{run_label(point, seed)}-{identity}"
            yield Run(run_id=run_id, point=point, seed=seed, epochs=spec.epochs, matched=matched)

    @cached_property
    def _settings(self) -> Mapping[Settings, Mapping[str, Any]]:
        """Settings that the runs of each combination of the grid's values depend on."""
        return {settings: self._settings_of(spec) for settings, spec in self.specs.items()}

    def _settings_of(self, spec: StudySpec) -> dict[str, Any]:
        return {**spec.run_identity(), "workload_version": self.study.workload_version}

    @cached_property
    def settings_hash(self) -> str:
        """Hash of the settings that all runs share. Two sweeps with equal hashes can share their runs."""
        return content_hash(_without(self._settings_of(self.spec), self.spec.sweep.grid), digits=16)

    @cached_property
    def by_id(self) -> dict[str, Run]:
        return {run.run_id: run for run in self.runs}

    @property
    def custom_networks(self) -> tuple[str, ...]:
        return self.spec.custom_networks

    @property
    def custom_parts(self) -> tuple[str, ...]:
        return self.spec.custom_parts

    def estimate(self, point: Point, shape: InputShape | None = None, classes: int | None = None) -> Estimate:
        """Estimate the cost of a run of this point. The estimate is more precise if shape and classes of the data are known."""
        return self.study.estimate(self.spec_at(point), point, shape, classes)

    def spec_at(self, point: Point) -> StudySpec:
        """Return the spec that the runs of a point compute."""
        return self.specs[point.settings].at(point)

    def memory_bytes(self, data: DataInfo, measured: Iterable[PointMemory] = ()) -> dict[Point, int | None]:
        """Return the estimated memory of a run of each point: from the architecture, else from measurements, else None."""
        known = {(each.network, each.depth, settings_of(each.settings)): each.step_bytes for each in measured}
        estimates = {point: self.estimate(point, data.input_shape, data.classes) for point in self.spec.points}
        return {
            point: known.get((point.network, point.depth, point.settings))
            if each.memory_bytes is None
            else each.memory_bytes
            for point, each in estimates.items()
        }

    @cached_property
    def work(self) -> dict[str, float]:
        """Relative cost of each run by id."""
        by_point = {point: self.estimate(point).work for point in self.spec.points}
        return {run.run_id: by_point[run.point] for run in self.runs}

    @cached_property
    def longest_first(self) -> tuple[Run, ...]:
        """The runs by descending estimated duration, which keeps all slots busy to the end; ties keep the plan's order."""
        return tuple(sorted(self.runs, key=lambda run: -self.work[run.run_id]))


def run_label(point: Point, seed: int) -> str:
    """Return the readable part of a run's id: ``densenet-L8-s0``, ``densenet-L8-lr0.01-s0``."""
    network, settings = point.network, point.series.removeprefix(point.network).replace("=", "")
    grid = re.sub(r"[^A-Za-z0-9_.+-]+", "-", settings)[:LONGEST_LABEL]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', network)}-L{point.depth}{grid}-s{seed}"


def _without(settings: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return nested tables without some dotted keys."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        inner = [key.partition(".")[2] for key in keys if key.partition(".")[0] == name]
        if "" not in inner:
            result[name] = _without(value, inner) if inner and isinstance(value, Mapping) else value
    return result
