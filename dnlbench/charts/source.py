"""The sources of charts: profiles of one study, or the results of a sweep so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    TunedRecord,
    differing_settings,
    settings_text,
)
from dnlbench.profiles.tuning import runs_at_best
from dnlbench.studies import Point, Study

R = TypeVar("R", RunRecord, PointSummary, FitRecord, CostRecord, TunedRecord)
MAX_NAMED_RUNS = 4
"""Failed runs that a note lists by name; more are counted."""
FAILED = ("failed", "oom", "diverged")
"""Statuses that charts mark; runs with other statuses were canceled or never started."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A profile or a running sweep."""

    study: Study
    runs: Sequence[RunRecord]
    summary: Summary
    letter: str = ""
    """Short name; empty for a single source."""
    title: str = ""
    """Name and time, with the settings that distinguish profiles of the same name."""
    data: str = ""
    batch_size: int | None = None
    """Samples per training step; None for a study without batches."""
    samples: int | None = None
    """Training samples per epoch, of runs that do not record theirs; None if unknown."""
    final: bool = True
    """False while the sweep is running."""

    def name(self, text: str) -> str:
        """Return ``A densenet``, without the letter for a single source."""
        return f"{self.letter} {text}".strip()

    def steps(self, run: RunRecord) -> int | None:
        """Return the training steps per epoch of a run; None if unknown."""
        return steps_per_epoch(run.settings.get("train.batch_size", self.batch_size), run.samples or self.samples)

    @property
    def seeds_are_problems(self) -> bool:
        """Return True if each seed is a different problem."""
        return any(fit.model != "limit" for fit in self.study.fits)


def at_best(source: Source) -> Source:
    """Return a tuned source with the runs at the tried value that is nearest to the best one of each network and depth.

    A source without best values, as while it is running, is returned as it is.
    """
    tuning = source.study.tuning
    nearest = runs_at_best(source.runs, source.summary.tuned) if tuning and source.final else ()
    if tuning is None or not nearest:
        return source
    runs = (
        run.model_copy(update={"settings": {key: value for key, value in run.settings.items() if key != tuning.key}})
        for run in nearest
    )
    return replace(source, runs=tuple(runs))


def letter(index: int) -> str:
    """Return the short name of a profile: A, B, … Z, AA, BB."""
    return ascii_uppercase[index % 26] * (index // 26 + 1)


def steps_per_epoch(batch_size: object, samples: int | None) -> int | None:
    """Return the batches per epoch; None for a study without batches, or an unknown number of samples."""
    return math.ceil(samples / batch_size) if samples and isinstance(batch_size, int) and batch_size > 0 else None


def sources_of(profiles: Sequence[Profile], letters: Sequence[str] = ()) -> tuple[Source, ...]:
    """Return a source for each profile, with the network names that charts show.

    Args:
        profiles: one or more profiles of one study, the reference first.
        letters: short names; default: A, B, … for several profiles, none for one.

    Raises:
        ConfigurationError: if there is no profile, or the profiles belong to different studies.
    """
    if not profiles:
        raise ConfigurationError("a figure needs at least one profile")
    studies = dict.fromkeys(profile.study for profile in profiles)
    if len(studies) > 1:
        raise ConfigurationError(
            f"profiles belong to different studies: {', '.join(studies)}; plot the profiles of one study at a time"
        )
    if not letters:
        letters = [letter(index) for index in range(len(profiles))] if len(profiles) > 1 else [""]
    titles = [f"{label(each.name)}, {each.created:%Y-%m-%d %H:%M} UTC" for each in profiles]
    settings = differing_settings([settings_text(each.spec) for each in profiles])
    return tuple(
        Source(
            study=profile.declared,
            runs=profile.runs,
            summary=profile.summary,
            letter=short,
            title=", ".join(filter(None, (title, differing))),
            data=profile.data.name,
            samples=profile.data.samples,
            batch_size=profile.spec.get("train", {}).get("batch_size"),
        )
        for profile, short, title, differing in zip(_labeled(profiles), letters, titles, settings, strict=True)
    )


def _labeled(profiles: Sequence[Profile]) -> Iterator[Profile]:
    """Yield the profiles with short, distinct network names."""
    labels: dict[str, str] = {}
    records = (record for each in profiles for record in (*each.runs, *each.summary.tuned))
    for network in dict.fromkeys(record.series for record in records):
        short = label(network)
        labels[network] = short if short not in labels.values() else f"{short} ({len(labels) + 1})"

    def named(records: tuple[R, ...]) -> tuple[R, ...]:
        return tuple(
            each.model_copy(update={"network": labels.get(each.series, ""), "settings": {}}) for each in records
        )

    for profile in profiles:
        if all(network == short for network, short in labels.items()):
            yield profile
            continue
        summary = {kind: named(getattr(profile.summary, kind)) for kind in ("points", "fits", "costs", "tuned")}
        changes = {"runs": named(profile.runs), "summary": profile.summary.model_copy(update=summary)}
        yield profile.model_copy(update=changes)


@dataclass(frozen=True)
class Identities:
    """The networks and depths of all sources with their indices, so that styles agree between charts."""

    networks: tuple[str, ...]
    depths: tuple[int, ...]
    points: tuple[Point, ...]

    @classmethod
    def of(cls, points: Iterable[Point]) -> Identities:
        """Keep networks in the order of the sources; sort depths."""
        known = tuple(dict.fromkeys(points))
        networks = tuple(dict.fromkeys(point.series for point in known))
        return cls(networks, tuple(sorted({point.depth for point in known})), known)

    @classmethod
    def of_sources(cls, sources: Iterable[Source]) -> Identities:
        """Take the networks and depths of tuned results, then those of all planned runs."""
        known = tuple(sources)
        tuned = (record.point for source in known for record in source.summary.tuned)
        return cls.of((*tuned, *(run.point for source in known for run in source.runs)))

    def network(self, network: str, profile: int = 0) -> Identity:
        index = self.networks.index(network)
        return Identity(label=network, index=index, network=index, profile=profile)

    def point(self, point: Point, profile: int = 0, *, alone: bool = False) -> Identity:
        """Return the identity of a network at a depth. ``alone``: the chart shows this network only."""
        return Identity(
            label=f"L={point.depth}" if alone else f"{point.series} L={point.depth}",
            index=self.depths.index(point.depth) if alone else self.points.index(point),
            network=self.networks.index(point.series),
            depth=(self.depths.index(point.depth), len(self.depths)),
            profile=profile,
        )


def profiles_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the names for `Chart.profiles`."""
    return tuple(f"{each.letter}: {each.title}" for each in sources) if len(sources) > 1 else ()


def succeeded(run: RunRecord) -> bool:
    """Return True if the run succeeded and all its values are finite."""
    values = [epoch.train_loss for epoch in run.epochs]
    values += [value for value in run.measurements.values() if isinstance(value, float)]
    return run.status == "ok" and all(map(math.isfinite, values))


def is_failed(run: RunRecord) -> bool:
    """Return True if charts mark the run with a cross."""
    return run.status in FAILED or (run.status == "ok" and not succeeded(run))


def failed_note(sources: Sequence[Source]) -> tuple[str, ...]:
    """Explain the crosses, and count the runs that never finished."""
    failed, counts = [], Counter[str]()
    for source in sources:
        for run in source.runs:
            if is_failed(run):
                failed.append(source.name(f"{run.series} L={run.depth} seed {run.seed} {_failure(run)}"))
            elif run.status != "ok" and source.final:
                counts[run.status] += 1
    notes = []
    if failed:
        more = [f"and {len(failed) - MAX_NAMED_RUNS} more"] if len(failed) > MAX_NAMED_RUNS else []
        names = "; ".join([*failed[:MAX_NAMED_RUNS], *more])
        notes.append(f"×: {units.counted(len(failed), 'failed run')}, excluded from means: {names}.")
    if counts:
        notes.append(f"{units.counted(counts.total(), 'run')} canceled or never started, excluded from means.")
    return tuple(notes)


def _failure(run: RunRecord) -> str:
    text = {"ok": "has a non-finite value", "oom": "ran out of memory"}.get(run.status, run.status)
    return f"{text} in epoch {run.epochs[-1].epoch}" if run.epochs and run.status != "ok" else text
