"""Profile against profile, as plain data: what differs in what was asked and where, and a verdict for each point.

Runs of equal seed start from equal weights and see the data in equal order, so losses are paired by seed: over the seeds that
both sides have, or not at all where those are too few to show a spread. Throughput and memory say something about the machine
too: they are compared only between equal devices, threads, runs side by side and pack sizes, and not paired, since a seed
says nothing about the state of a machine. All intervals are at 95 %, on log-ratios.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dnlbench import units
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile, RunRecord, values_of
from dnlbench.stats import Interval, mean_interval, paired_ratio, welch_ratio
from dnlbench.studies import STUDIES, Quantity

Verdict = Literal["better", "worse", "no difference", "inconclusive", "not comparable"]

OF_THE_MOMENT = ("memory_used_bytes", ".utilisation", ".processes")
"""Facts of a machine that change all the time."""
_MACHINE_BOUND_FACTS = ("device_name", "threads", "jobs", "pack_size", "shared_device")
_UNFINISHED = ("cancelled", "skipped")
_FEWEST_PAIRS = 2
"""Fewer pairs have no interval, while all the runs together may have one."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something that is not the same on both sides."""

    what: str
    """Such as ``spec train.lr`` or ``machine torch``."""
    reference: str
    candidate: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One quantity at one point."""

    network: str
    depth: int
    quantity: Quantity
    reference: Interval | None
    """Mean over seeds; None where no run has a value."""
    candidate: Interval | None
    ratio: Interval | None
    """Candidate over reference, a geometric mean; None where none can be stated."""
    paired: bool
    """Whether the ratio is over pairs of equal seed."""
    verdict: Verdict
    reason: str
    """Why the verdict is not better, worse or no difference; or what failed; and the seeds left out. May be empty."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One candidate against the reference."""

    study: str
    reference: str
    candidate: str
    """Name and time of each profile."""
    differences: tuple[Difference, ...]
    cells: tuple[Cell, ...]
    """By quantity, then by point in the order of the reference."""

    def counts(self) -> dict[str, int]:
        """How many cells have each verdict."""
        verdicts = [cell.verdict for cell in self.cells]
        return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}


def compare(reference: Profile, candidate: Profile) -> Comparison:
    """Holds a candidate against a reference.

    Raises:
        NotComparableError: if they are of different studies, of other data, or have no network and depth in common.
    """
    if reference.study != candidate.study:
        raise NotComparableError(f"studies differ: {reference.study} and {candidate.study}")
    if reference.data.sha256 != candidate.data.sha256:
        raise NotComparableError(
            f"they are of different data: {_data(reference)} and {_data(candidate)}; results on different data say nothing "
            "about each other"
        )
    if problem := _other_problem(reference, candidate):
        raise NotComparableError(f"they pose different problems: {problem}")
    ours, theirs = _by_point(reference), _by_point(candidate)
    common = [point for point in ours if point in theirs]
    if not common:
        raise NotComparableError(f"no network and depth in common: {_points(ours)} and {_points(theirs)}")
    main, *others = STUDIES[reference.study].quantities
    runs = [run for point in common for run in (*ours[point], *theirs[point])]
    obstacle = "other machine" if reference.machine.fingerprint != candidate.machine.fingerprint else ""
    return Comparison(
        study=reference.study,
        reference=_title(reference),
        candidate=_title(candidate),
        differences=tuple(_differences(reference, candidate)),
        cells=tuple(
            _cell(quantity, point, ours[point], theirs[point], obstacle, main=quantity == main)
            for quantity in [main, *(other for other in others if values_of(runs, other))]
            for point in common
            if quantity == main or values_of((*ours[point], *theirs[point]), quantity)
        ),
    )


def _other_problem(reference: Profile, candidate: Profile) -> str:
    """What a study without epochs measures is a property of the problem that all of its spec but the axes poses."""
    if STUDIES[reference.study].has_epochs:
        return ""
    ours, theirs = (
        dict(_flat({key: value for key, value in profile.spec.items() if key not in ("name", "sweep")}))
        for profile in (reference, candidate)
    )
    return ", ".join(
        f"{key} = {ours.get(key)} and {theirs.get(key)}"
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    )


Point = tuple[str, int]


def _by_point(profile: Profile) -> dict[Point, list[RunRecord]]:
    points: dict[Point, list[RunRecord]] = {}
    for run in profile.runs:
        points.setdefault((run.network, run.depth), []).append(run)
    return points


def _points(points: Mapping[Point, Any]) -> str:
    return ", ".join(f"{network} L={depth}" for network, depth in points)


def _title(profile: Profile) -> str:
    return f"{profile.name}, {profile.created:%Y-%m-%d %H:%M} UTC"


def _data(profile: Profile) -> str:
    return f"{profile.data.name} ({profile.data.samples} samples, {profile.data.sha256[:12]})"


def _differences(reference: Profile, candidate: Profile) -> Iterator[Difference]:
    """What was asked, on what and with what, as far as it is not the same."""
    for group, ours, theirs in (
        ("spec", reference.spec, candidate.spec),
        ("machine", reference.machine.model_dump(mode="json"), candidate.machine.model_dump(mode="json")),
        ("code", reference.code.model_dump(), candidate.code.model_dump()),
        ("workload", {"version": reference.workload_version}, {"version": candidate.workload_version}),
    ):
        flat_ours, flat_theirs = dict(_flat(ours)), dict(_flat(theirs))
        for key in dict.fromkeys([*flat_ours, *flat_theirs]):
            values = flat_ours.get(key), flat_theirs.get(key)
            if values[0] != values[1] and not key.endswith(OF_THE_MOMENT) and key not in ("name", "fingerprint"):
                yield Difference(what=f"{group} {key}", reference=str(values[0]), candidate=str(values[1]))


def _flat(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted keys; lists of plain values stay whole."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(table, list) and any(isinstance(value, dict) for value in table):
        for index, value in enumerate(table):
            yield from _flat(value, f"{prefix}.{index}")
    else:
        yield prefix, table


def _cell(
    quantity: Quantity,
    point: Point,
    reference: Sequence[RunRecord],
    candidate: Sequence[RunRecord],
    obstacle: str,
    *,
    main: bool,
) -> Cell:
    """``obstacle`` is why timings of the two sides cannot be compared at any point; empty if they can.

    That a run failed is held against the study's main quantity, once; the others are judged by the values that there are.
    """
    ours, theirs = values_of(reference, quantity), values_of(candidate, quantity)
    paired = not quantity.machine_bound and _pairable(ours, theirs)
    obstacle = (obstacle or _obstacle(reference, candidate)) if quantity.machine_bound else ""
    ratio, problem = (None, obstacle) if obstacle else _ratio(ours, theirs, paired=paired)
    verdict: Verdict
    if newly_failed := _newly_failed(reference, candidate) if main else "":
        verdict, reason = "worse", newly_failed
    elif quantity.bound is not None and ours and theirs and max(*ours.values(), *theirs.values()) <= quantity.bound:
        verdict, reason = "no difference", f"both within {units.number(quantity.bound)}, which is rounding"
    elif ratio is None:
        verdict, reason = "not comparable", problem
    else:
        verdict, reason = judge(ratio, quantity)
    return Cell(
        network=point[0],
        depth=point[1],
        quantity=quantity,
        reference=mean_interval(list(ours.values())) if ours else None,
        candidate=mean_interval(list(theirs.values())) if theirs else None,
        ratio=ratio,
        paired=paired,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, _left_out(ours, theirs) if paired else ""))),
    )


def _pairable(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    return ours.keys() == theirs.keys() or len(ours.keys() & theirs.keys()) >= _FEWEST_PAIRS


def _left_out(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """The seeds that are in no pair, because the other side has no value for them; empty if there are none."""
    sides = (("reference", ours.keys() - theirs.keys()), ("candidate", theirs.keys() - ours.keys()))
    parts = [
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))} (only in the {side})"
        for side, seeds in sides
        if seeds
    ]
    return f"the pairs leave out {' and '.join(parts)}" if parts else ""


def _obstacle(reference: Sequence[RunRecord], candidate: Sequence[RunRecord]) -> str:
    """Why timings at a point cannot be compared; empty if they can, or if a side has none."""
    for fact in _MACHINE_BOUND_FACTS:
        sides = [{getattr(run, fact) for run in side if run.status == "ok"} for side in (reference, candidate)]
        if all(sides) and sides[0] != sides[1]:
            names = [", ".join(sorted(map(str, side))) for side in sides]
            return f"{fact.replace('_', ' ')} differs: {names[0]} and {names[1]}"
    return ""


def _newly_failed(reference: Sequence[RunRecord], candidate: Sequence[RunRecord]) -> str:
    """The seeds that ended well in the reference and badly in the candidate; runs that were never finished do not count."""
    well = {run.seed for run in reference if run.status == "ok"}
    bad = [run for run in candidate if run.seed in well and run.status not in ("ok", *_UNFINISHED)]
    return ", ".join(f"seed {run.seed} {run.status}" for run in bad)


def _ratio(
    reference: Mapping[int, float], candidate: Mapping[int, float], *, paired: bool
) -> tuple[Interval | None, str]:
    """Candidate over reference, or the reason why there is none."""
    if not reference or not candidate:
        return None, "no finished run in the " + ("reference" if not reference else "candidate")
    try:
        if paired:
            seeds = [seed for seed in reference if seed in candidate]
            return paired_ratio([reference[seed] for seed in seeds], [candidate[seed] for seed in seeds]), ""
        return welch_ratio(list(reference.values()), list(candidate.values())), ""
    except ValueError as error:
        return None, str(error)


def judge(ratio: Interval, quantity: Quantity) -> tuple[Verdict, str]:
    """The verdict that a ratio's interval allows.

    Within the quantity's tolerance on both sides there is no difference worth the name; an interval that holds 1 and reaches
    beyond the tolerance allows no verdict.
    """
    if ratio.low is None or ratio.high is None:
        return "inconclusive", "one seed gives no interval"
    if 1 / (1 + quantity.tolerance) <= ratio.low and ratio.high <= 1 + quantity.tolerance:
        return "no difference", ""
    if ratio.low <= 1 <= ratio.high:
        return "inconclusive", "the interval holds 1; more seeds may decide"
    if quantity.better is None:
        return "inconclusive", "this quantity has no better direction"
    return ("better" if (ratio.high < 1) == (quantity.better == "lower") else "worse"), ""
