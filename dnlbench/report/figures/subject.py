"""The profiles of a figure: their names, and places of networks and depths, which looks follow from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from dnlbench.errors import ConfigurationError
from dnlbench.escape import label
from dnlbench.profiles import (
    CostRecord,
    FitRecord,
    PointSummary,
    Profile,
    RunRecord,
    differing_settings,
    settings_text,
)
from dnlbench.report.figures.looks import DASHES, INK, network_look
from dnlbench.report.figures.panel import Entry, Look
from dnlbench.studies import STUDIES, Study

R = TypeVar("R", RunRecord, PointSummary, FitRecord, CostRecord)
NAMED_RUNS = 4
"""More runs than this are counted, not named."""
MARKED = ("failed", "oom", "diverged")
"""What a run ends in that is marked; others were not run to their end."""
CROSS = Look(colour=INK, marker="x")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is drawn: profiles of one study."""

    profiles: tuple[Profile, ...]
    names: tuple[str, ...]
    """Name and time of each, and the settings in which those of one name differ."""

    @property
    def study(self) -> Study:
        """The one of all profiles."""
        return STUDIES[self.profiles[0].study]

    @property
    def networks(self) -> dict[str, int]:
        """Each network's place, in the order of the first profile that has it."""
        found = dict.fromkeys(run.network for profile in self.profiles for run in profile.runs)
        return {network: place for place, network in enumerate(found)}

    @property
    def depths(self) -> tuple[int, ...]:
        """All that were asked for, increasing."""
        return tuple(sorted({run.depth for profile in self.profiles for run in profile.runs}))

    def whose(self, profile: int) -> str:
        """A beginning for what is said of one profile, A, B and so on as in the legend; empty where there is but one."""
        return f"{ascii_uppercase[profile]} " if len(self.profiles) > 1 else ""


def subject_of(profiles: Sequence[Profile]) -> Subject:
    """The profiles with their names.

    Raises:
        ConfigurationError: for none, for too many to be told apart, or for profiles of several studies.
    """
    if not profiles:
        raise ConfigurationError("a figure needs at least one profile")
    if len(profiles) > len(DASHES):
        raise ConfigurationError(
            f"{len(profiles)} profiles in one figure: more than {len(DASHES)} cannot be told apart; draw fewer at a time"
        )
    studies = dict.fromkeys(profile.study for profile in profiles)
    if len(studies) > 1:
        raise ConfigurationError(
            f"profiles of different studies have no figure in common: {', '.join(studies)}; draw those of one study at a time"
        )
    titles = [f"{label(each.name)}, {each.created:%Y-%m-%d %H:%M} UTC" for each in profiles]
    settings = differing_settings([settings_text(each.spec) for each in profiles])
    names = (", ".join(filter(None, both)) for both in zip(titles, settings, strict=True))
    return Subject(profiles=_labelled(profiles), names=tuple(names))


def _labelled(profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles with networks named as figures show them; two that look the same stay two."""
    labels: dict[str, str] = {}
    for network in dict.fromkeys(run.network for profile in profiles for run in profile.runs):
        shown = label(network)
        labels[network] = shown if shown not in labels.values() else f"{shown} ({len(labels) + 1})"
    if all(network == shown for network, shown in labels.items()):
        return tuple(profiles)

    def named(records: tuple[R, ...]) -> tuple[R, ...]:
        return tuple(each.model_copy(update={"network": labels.get(each.network, "")}) for each in records)

    def relabelled(profile: Profile) -> Profile:
        summary = {kind: named(getattr(profile.summary, kind)) for kind in ("points", "fits", "costs")}
        changes = {"runs": named(profile.runs), "summary": profile.summary.model_copy(update=summary)}
        return profile.model_copy(update=changes)

    return tuple(map(relabelled, profiles))


def network_entries(subject: Subject) -> tuple[Entry, ...]:
    """A line of the legend for each network."""
    return tuple(Entry(label=network, looks=(network_look(place),)) for network, place in subject.networks.items())


def profile_entries(subject: Subject) -> tuple[Entry, ...]:
    """A line of the legend for each profile; none where there is but one."""
    if len(subject.profiles) < 2:
        return ()
    return tuple(
        Entry(
            label=f"{subject.whose(place).strip()}: {name}",
            looks=(Look(colour=INK, marker="o", dashes=DASHES[place], filled=place == 0),),
        )
        for place, name in enumerate(subject.names)
    )


def counted(count: int) -> str:
    """With its noun."""
    return "1 run" if count == 1 else f"{count} runs"


def ended_well(run: RunRecord) -> bool:
    """Whether a run was done, and all its values are numbers."""
    values = [epoch.train_loss for epoch in run.epochs]
    values += [value for value in run.measurements.values() if isinstance(value, float)]
    return run.status == "ok" and all(map(math.isfinite, values))


def bad_run_notes(subject: Subject) -> tuple[str, ...]:
    """What the crosses are, and what was never run to its end."""
    bad, undone = [], 0
    for place, profile in enumerate(subject.profiles):
        for run in profile.runs:
            if run.status in ("cancelled", "skipped"):
                undone += 1
            elif not ended_well(run):
                bad.append(f"{subject.whose(place)}{run.network} L={run.depth} seed {run.seed} {_how(run)}")
    notes = []
    if bad:
        named = [*bad[:NAMED_RUNS], *([f"and {len(bad) - NAMED_RUNS} more"] if len(bad) > NAMED_RUNS else [])]
        notes.append(f"×: {counted(len(bad))} ended badly, in no mean: {'; '.join(named)}.")
    if undone:
        notes.append(f"{counted(undone)} cancelled or never started, in no mean.")
    return tuple(notes)


def groups(*found: Sequence[Entry]) -> tuple[tuple[Entry, ...], ...]:
    """Those that hold something."""
    return tuple(tuple(entries) for entries in found if entries)


def bad_entries(subject: Subject) -> tuple[Entry, ...]:
    """A line of the legend for crosses, if there are any."""
    marked = any(is_marked(run) for profile in subject.profiles for run in profile.runs)
    return (Entry(label="ended badly", looks=(CROSS,), line=False),) if marked else ()


def is_marked(run: RunRecord) -> bool:
    """Whether a run has a cross."""
    return run.status in MARKED or (run.status == "ok" and not ended_well(run))


def _how(run: RunRecord) -> str:
    """How and when it ended."""
    how = {"ok": "has a value that is no number", "oom": "ran out of memory"}.get(run.status, run.status)
    return f"{how} in epoch {run.epochs[-1].epoch}" if run.epochs and run.status != "ok" else how
