"""Where the values of charts come from: profiles of one study, or what a running sweep has so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from dnlbench import units
from dnlbench.charts.model import Identity
from dnlbench.errors import ConfigurationError
from dnlbench.escape import label
from dnlbench.profiles import (
    CostRecord,
    FitRecord,
    PointSummary,
    Profile,
    RunRecord,
    Summary,
    differing_settings,
    settings_text,
)
from dnlbench.studies import STUDIES, Point, Study

R = TypeVar("R", RunRecord, PointSummary, FitRecord, CostRecord)
NAMED_RUNS = 4
"""More failed runs than this are counted, not named."""
FAILED = ("failed", "oom", "diverged")
"""Statuses that are marked; runs with other ones were canceled or never started."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One profile, or a running sweep."""

    study: Study
    runs: Sequence[RunRecord]
    summary: Summary
    letter: str = ""
    """Empty if there is only one source."""
    title: str = ""
    """Name and time, and the settings in which profiles of one name differ."""
    data: str = ""
    steps: int | None = None
    """Training steps per epoch; None if unknown."""
    final: bool = True
    """False while the sweep is running."""

    def name(self, what: str) -> str:
        """``A densenet``; without the letter if there is only one source."""
        return f"{self.letter} {what}".strip()

    @property
    def seeds_are_problems(self) -> bool:
        """Each seed is a problem of its own."""
        return any(fit.model != "limit" for fit in self.study.fits)


def letter(index: int) -> str:
    """Short name of a profile: A, B, … Z, AA, BB."""
    return ascii_uppercase[index % 26] * (index // 26 + 1)


def steps_per_epoch(batch_size: object, samples: int) -> int | None:
    """Batches per epoch; None for a study without batches."""
    return math.ceil(samples / batch_size) if isinstance(batch_size, int) and batch_size > 0 else None


def sources_of(profiles: Sequence[Profile], letters: Sequence[str] = ()) -> tuple[Source, ...]:
    """The profiles with their names; networks are named as charts show them.

    Args:
        profiles: one, or several of one study, the reference first.
        letters: short names; default A, B, … for several and none for one.

    Raises:
        ConfigurationError: for no profile, or for profiles of several studies.
    """
    if not profiles:
        raise ConfigurationError("a figure needs at least one profile")
    studies = dict.fromkeys(profile.study for profile in profiles)
    if len(studies) > 1:
        raise ConfigurationError(
            f"profiles of different studies have no figure in common: {', '.join(studies)}; draw those of one study at a time"
        )
    if not letters:
        letters = [letter(place) for place in range(len(profiles))] if len(profiles) > 1 else [""]
    titles = [f"{label(each.name)}, {each.created:%Y-%m-%d %H:%M} UTC" for each in profiles]
    settings = differing_settings([settings_text(each.spec) for each in profiles])
    return tuple(
        Source(
            study=STUDIES[profile.study],
            runs=profile.runs,
            summary=profile.summary,
            letter=short,
            title=", ".join(filter(None, (title, differing))),
            data=profile.data.name,
            steps=steps_per_epoch(profile.spec.get("train", {}).get("batch_size"), profile.data.samples),
        )
        for profile, short, title, differing in zip(_labeled(profiles), letters, titles, settings, strict=True)
    )


def _labeled(profiles: Sequence[Profile]) -> Iterator[Profile]:
    """The profiles with short network names in one line; two networks that would look the same stay two."""
    labels: dict[str, str] = {}
    for network in dict.fromkeys(run.network for profile in profiles for run in profile.runs):
        shown = label(network)
        labels[network] = shown if shown not in labels.values() else f"{shown} ({len(labels) + 1})"

    def named(records: tuple[R, ...]) -> tuple[R, ...]:
        return tuple(each.model_copy(update={"network": labels.get(each.network, "")}) for each in records)

    for profile in profiles:
        if all(network == shown for network, shown in labels.items()):
            yield profile
            continue
        summary = {kind: named(getattr(profile.summary, kind)) for kind in ("points", "fits", "costs")}
        changes = {"runs": named(profile.runs), "summary": profile.summary.model_copy(update=summary)}
        yield profile.model_copy(update=changes)


@dataclass(frozen=True)
class Identities:
    """The networks and depths of all sources, each with its index: what looks alike in one chart does so in all."""

    networks: tuple[str, ...]
    depths: tuple[int, ...]
    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Identities:
        """In the order in which sources name them; depths increase."""
        known = tuple(dict.fromkeys(points))
        networks = tuple(dict.fromkeys(point.network for point in known))
        return cls(networks, tuple(sorted({point.depth for point in known})), known)

    @classmethod
    def of_sources(cls, sources: Iterable[Source]) -> Identities:
        """The networks and depths of all planned runs."""
        return cls.of(run.point for source in sources for run in source.runs)

    def network(self, network: str, profile: int = 0) -> Identity:
        index = self.networks.index(network)
        return Identity(label=network, index=index, network=index, profile=profile)

    def point(self, point: Point, profile: int = 0, *, alone: bool = False) -> Identity:
        """A network at a depth; ``alone`` in a chart of that network only."""
        return Identity(
            label=f"L={point.depth}" if alone else f"{point.network} L={point.depth}",
            index=self.depths.index(point.depth) if alone else self.points.index(point),
            network=self.networks.index(point.network),
            depth=(self.depths.index(point.depth), len(self.depths)),
            profile=profile,
        )


def profiles_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """The names for `Chart.profiles`."""
    return tuple(f"{each.letter}: {each.title}" for each in sources) if len(sources) > 1 else ()


def ended_well(run: RunRecord) -> bool:
    """The run is done, and all its values are numbers."""
    values = [epoch.train_loss for epoch in run.epochs]
    values += [value for value in run.measurements.values() if isinstance(value, float)]
    return run.status == "ok" and all(map(math.isfinite, values))


def is_failed(run: RunRecord) -> bool:
    """The run is marked with a cross."""
    return run.status in FAILED or (run.status == "ok" and not ended_well(run))


def failed_note(sources: Sequence[Source]) -> tuple[str, ...]:
    """What the crosses are; runs that never finished are only counted."""
    failed, counts = [], Counter[str]()
    for source in sources:
        for run in source.runs:
            if is_failed(run):
                failed.append(source.name(f"{run.network} L={run.depth} seed {run.seed} {_how(run)}"))
            elif run.status != "ok" and source.final:
                counts[run.status] += 1
    notes = []
    if failed:
        more = [f"and {len(failed) - NAMED_RUNS} more"] if len(failed) > NAMED_RUNS else []
        said = "; ".join([*failed[:NAMED_RUNS], *more])
        notes.append(f"×: {units.counted(len(failed), 'failed run')}, in no mean: {said}.")
    if counts:
        notes.append(f"{units.counted(counts.total(), 'run')} canceled or never started, in no mean.")
    return tuple(notes)


def _how(run: RunRecord) -> str:
    how = {"ok": "has a value that is not a number", "oom": "ran out of memory"}.get(run.status, run.status)
    return f"{how} in epoch {run.epochs[-1].epoch}" if run.epochs and run.status != "ok" else how
