"""The runs of both profiles at the points that are compared, and the checks for comparability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dnlbench import profiles, units
from dnlbench.comparison.hardware import ROLES, on_one_hardware, other_hardware
from dnlbench.comparison.model import Match, NewFailure
from dnlbench.errors import NotComparableError
from dnlbench.machine import Machine
from dnlbench.profiles import Profile, RunRecord, values_of
from dnlbench.profiles.tuning import tuned_runs
from dnlbench.studies import Point, Quantity

_HARDWARE_FIELDS = ("threads", "jobs", "pack_size", "shared_device")
_UNFINISHED = ("cancelled", "skipped")
MEASURED_APART = "measured at different times; use dnlbench run --against"


@dataclass(frozen=True, kw_only=True)
class PointPair:
    """The runs of one network at one depth in both profiles."""

    point: Point
    reference: tuple[RunRecord, ...]
    candidate: tuple[RunRecord, ...]
    machines: tuple[Machine, Machine]
    """The machines of both profiles, on which runs without a node ran."""
    interleaved: str | None
    """The session of the paired benchmark of both profiles; None without one."""

    def values(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """Return the finite values by seed of the reference and of the candidate."""
        return values_of(self.reference, quantity), values_of(self.candidate, quantity)

    def shown(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """Return the values for means. Hardware-dependent values that were measured on different hardware are left out."""
        if not quantity.hardware_dependent:
            return self.values(quantity)
        on_one = map(on_one_hardware, self._counting(quantity), self.machines)
        ours, theirs = (values if one else {} for values, one in zip(self.values(quantity), on_one, strict=True))
        return ours, theirs

    def ratio_values(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """Return the values for ratios. Values that are 0 up to rounding are raised to the rounding bound."""
        ours, theirs = self.values(quantity)
        if quantity.bound is None:
            return ours, theirs
        bound = quantity.bound
        return {s: max(v, bound) for s, v in ours.items()}, {s: max(v, bound) for s, v in theirs.items()}

    def has(self, quantity: Quantity) -> bool:
        return any(self.values(quantity))

    def may_be_paired(self, quantity: Quantity) -> bool:
        """Return True if equal seeds share weights and data, or the state of the machine.

        Runs of equal seed share the state of the machine only in a paired benchmark, where they alternate on one slot.
        """
        return not quantity.hardware_dependent or self.interleaved is not None

    def obstacle(self, quantity: Quantity) -> str:
        """Return the reason why the values cannot be compared; empty if they can, or if a profile has none."""
        if not quantity.hardware_dependent:
            return ""
        if problem := other_hardware(*self._counting(quantity), self.machines):
            return problem
        for field in _HARDWARE_FIELDS:
            ours, theirs = (
                {getattr(run, field) for run in runs if run.status == "ok"} for runs in (self.reference, self.candidate)
            )
            if ours and theirs and ours != theirs:
                names = [", ".join(sorted(map(str, values))) for values in (ours, theirs)]
                return f"{field.replace('_', ' ')} differs: {names[0]} and {names[1]}"
        return ""

    def _counting(self, quantity: Quantity) -> tuple[list[RunRecord], list[RunRecord]]:
        ours, theirs = (
            [run for run in runs if values_of([run], quantity)] for runs in (self.reference, self.candidate)
        )
        return ours, theirs

    def rounding(self, quantity: Quantity) -> str:
        """Return the reason for no difference if both values are 0 up to rounding; otherwise empty."""
        ours, theirs = self.values(quantity)
        if quantity.bound is None or not ours or not theirs or max(*ours.values(), *theirs.values()) > quantity.bound:
            return ""
        return f"both within {units.number(quantity.bound)}, which is rounding"

    def advisory(self, quantity: Quantity) -> str:
        """Return the reason why a ratio has no verdict; empty if it can have one.

        The speed of a machine drifts between two measurements by more than most regressions. A test over seeds cannot detect
        that: all runs of one profile saw the same state, so each profile is one sample. Runs that share a device slow each
        other down and are not independent samples either.
        """
        if not quantity.timed:
            return ""
        if any(run.shared_device for run in (*self.reference, *self.candidate) if run.status == "ok"):
            return f"runs shared a device, which changes their {quantity.label}; run one at a time on each device"
        if self.interleaved is None:
            return MEASURED_APART
        return ""

    @property
    def new_failures(self) -> Iterator[NewFailure]:
        """Runs that succeeded in the reference and failed in the candidate, without unfinished ones."""
        for run in self._well_in_the_reference():
            if run.status not in ("ok", *_UNFINISHED):
                yield NewFailure(network=self.point.series, depth=run.depth, seed=run.seed, status=run.status)

    @property
    def unfinished(self) -> Iterator[tuple[str, int, int]]:
        """Network, depth and seed of runs that succeeded in the reference and are unfinished in the candidate."""
        finished = {run.seed for run in self.candidate if run.status not in _UNFINISHED}
        return (
            (self.point.series, run.depth, run.seed) for run in succeeded(self.reference) if run.seed not in finished
        )

    def _well_in_the_reference(self) -> Iterator[RunRecord]:
        seeds = {run.seed for run in succeeded(self.reference)}
        return (run for run in self.candidate if run.seed in seeds)


def succeeded(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the runs that succeeded."""
    return [run for run in runs if run.status == "ok"]


Points = Mapping[Point, tuple[RunRecord, ...]]


def by_point(profile: Profile) -> Points:
    """Return a profile's runs by network and depth."""
    return _grouped(profile.runs)


def _grouped(runs: Iterable[RunRecord]) -> Points:
    return {point: tuple(group) for point, group in profiles.by_point(runs).items()}


def tuned_points(reference: Profile, candidate: Profile) -> tuple[Points, Points]:
    """Return the tuned results of both profiles as runs; none unless both tune the same setting by the same loss.

    A point without a best value has no runs.
    """
    tuning = reference.declared.tuning
    if tuning is None or tuning != candidate.declared.tuning:
        return {}, {}
    ours, theirs = (_tuned(each, tuning.key) for each in (reference, candidate))
    return ours, theirs


def _tuned(profile: Profile, key: str) -> Points:
    without: Points = {run.point.without(key): () for run in profile.runs}
    return {**without, **_grouped(tuned_runs(profile.runs, profile.declared))}


def matched_points(
    reference: Profile, candidate: Profile, match: Match, networks: tuple[str, str] | None
) -> tuple[Points, Points]:
    """Return the points of both profiles; equal points are compared.

    With ``match="depth"`` they are the points of one network of each profile, renamed to ``candidate / reference``. The two are
    in ``networks``, which may be None if each profile has one network.

    Raises:
        NotComparableError: if a network must be named, or no point is common.
    """
    ours, theirs = by_point(reference), by_point(candidate)
    if match == "depth":
        chosen = [_chosen(points, index, networks) for index, points in enumerate((ours, theirs))]
        name = chosen[0] if chosen[0] == chosen[1] else f"{chosen[1]} / {chosen[0]}"
        ours, theirs = _renamed(ours, chosen[0], name), _renamed(theirs, chosen[1], name)
    if not any(point in theirs for point in ours):
        raise NotComparableError(_nothing_in_common(ours, theirs, match))
    return ours, theirs


def _chosen(points: Points, index: int, networks: tuple[str, str] | None) -> str:
    known = list(dict.fromkeys(point.series for point in points))
    if networks is not None and networks[index] not in known:
        raise NotComparableError(f"the {ROLES[index]} has no network {networks[index]!r}: it has {', '.join(known)}")
    if networks is None and len(known) > 1:
        raise NotComparableError(
            f"--match depth compares one network of each profile, but the {ROLES[index]} has {', '.join(known)}; "
            f"name one of the reference and one of the candidate, such as --networks {known[0]},{known[1]}"
        )
    return known[0] if networks is None else networks[index]


def _renamed(points: Points, network: str, name: str) -> Points:
    return {Point(network=name, depth=point.depth): runs for point, runs in points.items() if point.series == network}


def _nothing_in_common(ours: Points, theirs: Points, match: Match) -> str:
    if match == "depth":
        depths = (", ".join(str(point.depth) for point in points) for points in (ours, theirs))
        return f"no depth in common: L={' and L='.join(depths)}"
    depth_in_common = {point.depth for point in ours} & {point.depth for point in theirs}
    hint = "; dnlbench compare --match depth compares two networks at equal depth" if depth_in_common else ""
    return f"no network and depth in common: {_named(ours)} and {_named(theirs)}{hint}"


def _named(points: Iterable[Point]) -> str:
    return ", ".join(point.title for point in points)
