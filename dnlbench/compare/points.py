"""The runs of both profiles at the points that are compared, and what keeps them from being held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dnlbench import profiles, units
from dnlbench.compare.hardware import ROLES, on_one_hardware, other_hardware
from dnlbench.compare.model import Match, NewFailure
from dnlbench.errors import NotComparableError
from dnlbench.machine import Machine
from dnlbench.profiles import Profile, RunRecord, values_of
from dnlbench.studies import Point, Quantity

_HARDWARE_FIELDS = ("threads", "jobs", "pack_size", "shared_device")
_UNFINISHED = ("cancelled", "skipped")
MEASURED_APART = "measured at different times; use dnlbench run --against"


@dataclass(frozen=True, kw_only=True)
class PointPair:
    """All seeds of one network at one depth, in both profiles."""

    point: Point
    reference: tuple[RunRecord, ...]
    candidate: tuple[RunRecord, ...]
    machines: tuple[Machine, Machine]
    """Of both profiles: what the runs were on that name no node."""
    interleaved: str | None
    """The session that both are of, in which their runs took turns."""

    def values(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """The finite values by seed, of the reference and of the candidate."""
        return values_of(self.reference, quantity), values_of(self.candidate, quantity)

    def shown(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """The same for means: none of a side whose runs, of what depends on the machine, were on several."""
        if not quantity.hardware_dependent:
            return self.values(quantity)
        whole = map(on_one_hardware, self._counting(quantity), self.machines)
        ours, theirs = (values if one else {} for values, one in zip(self.values(quantity), whole, strict=True))
        return ours, theirs

    def ratio_values(self, quantity: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """The same for ratios: what theory says is 0 but for rounding is taken to be the bound of rounding, below it."""
        ours, theirs = self.values(quantity)
        if quantity.bound is None:
            return ours, theirs
        bound = quantity.bound
        return {s: max(v, bound) for s, v in ours.items()}, {s: max(v, bound) for s, v in theirs.items()}

    def has(self, quantity: Quantity) -> bool:
        return any(self.values(quantity))

    def may_be_paired(self, quantity: Quantity) -> bool:
        """Whether equal seeds have something in common: weights and data, or the moment at which they were run.

        A seed says nothing about the state of a machine. Only where the two runs of a seed took turns on one slot they have
        met the same state of it.
        """
        return not quantity.hardware_dependent or self.interleaved is not None

    def obstacle(self, quantity: Quantity) -> str:
        """Why values of the two sides cannot be compared; empty if they can, or if a side has none."""
        if not quantity.hardware_dependent:
            return ""
        if problem := other_hardware(*self._counting(quantity), self.machines):
            return problem
        for fact in _HARDWARE_FIELDS:
            ours, theirs = (
                {getattr(run, fact) for run in side if run.status == "ok"} for side in (self.reference, self.candidate)
            )
            if ours and theirs and ours != theirs:
                names = [", ".join(sorted(map(str, side))) for side in (ours, theirs)]
                return f"{fact.replace('_', ' ')} differs: {names[0]} and {names[1]}"
        return ""

    def _counting(self, quantity: Quantity) -> tuple[list[RunRecord], list[RunRecord]]:
        ours, theirs = (
            [run for run in side if values_of([run], quantity)] for side in (self.reference, self.candidate)
        )
        return ours, theirs

    def rounding(self, quantity: Quantity) -> str:
        """Why values do not differ, whatever their ratio, where theory says that they are 0 but for rounding; or empty."""
        ours, theirs = self.values(quantity)
        if quantity.bound is None or not ours or not theirs or max(*ours.values(), *theirs.values()) > quantity.bound:
            return ""
        return f"both within {units.number(quantity.bound)}, which is rounding"

    def advisory(self, quantity: Quantity) -> str:
        """Why a ratio is shown without a verdict; empty if there can be one.

        Machines drift by more between two moments than most regressions are large, and no test over seeds sees that: all runs
        of one side have met the same state, so a moment is one sample. Runs that share a device slow each other down, and are
        no independent samples either.
        """
        if not quantity.timed:
            return ""
        if any(run.shared_device for run in (*self.reference, *self.candidate) if run.status == "ok"):
            return f"runs that share a device do not have the {quantity.label} of a run alone"
        if self.interleaved is None:
            return MEASURED_APART
        return ""

    @property
    def new_failures(self) -> Iterator[NewFailure]:
        """Runs that ended well in the reference and badly in the candidate; those that were never finished do not count."""
        for run in self._well_in_the_reference():
            if run.status not in ("ok", *_UNFINISHED):
                yield NewFailure(network=self.point.network, depth=run.depth, seed=run.seed, status=run.status)

    @property
    def unfinished(self) -> Iterator[tuple[str, int, int]]:
        """Network, depth and seed of runs that ended well in the reference and not at all in the candidate."""
        finished = {run.seed for run in self.candidate if run.status not in _UNFINISHED}
        return ((self.point.network, run.depth, run.seed) for run in well(self.reference) if run.seed not in finished)

    def _well_in_the_reference(self) -> Iterator[RunRecord]:
        seeds = {run.seed for run in well(self.reference)}
        return (run for run in self.candidate if run.seed in seeds)


def well(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Those that ended well."""
    return [run for run in runs if run.status == "ok"]


Points = Mapping[Point, tuple[RunRecord, ...]]


def by_point(profile: Profile) -> Points:
    """A profile's runs by network and depth."""
    return {point: tuple(runs) for point, runs in profiles.by_point(profile.runs).items()}


def matched_points(
    reference: Profile, candidate: Profile, match: Match, networks: tuple[str, str] | None
) -> tuple[Points, Points]:
    """The points of both sides, so that equal ones are compared.

    With ``match="depth"`` these are the points of one network each, under the common name ``candidate / reference``:
    the two in ``networks``, which may be None where each profile has one.

    Raises:
        NotComparableError: if it is not clear which networks are meant, or no point is common.
    """
    ours, theirs = by_point(reference), by_point(candidate)
    if match == "depth":
        chosen = [_chosen(points, side, networks) for side, points in enumerate((ours, theirs))]
        name = chosen[0] if chosen[0] == chosen[1] else f"{chosen[1]} / {chosen[0]}"
        ours, theirs = _renamed(ours, chosen[0], name), _renamed(theirs, chosen[1], name)
    if not any(point in theirs for point in ours):
        raise NotComparableError(_nothing_in_common(ours, theirs, match))
    return ours, theirs


def _chosen(points: Points, side: int, networks: tuple[str, str] | None) -> str:
    known = list(dict.fromkeys(point.network for point in points))
    if networks is not None and networks[side] not in known:
        raise NotComparableError(f"the {ROLES[side]} has no network {networks[side]!r}: it has {', '.join(known)}")
    if networks is None and len(known) > 1:
        raise NotComparableError(
            f"--match depth compares one network of each profile, and the {ROLES[side]} has {', '.join(known)}; "
            f"name that of the reference and that of the candidate, such as --networks {known[0]},{known[1]}"
        )
    return known[0] if networks is None else networks[side]


def _renamed(points: Points, network: str, name: str) -> Points:
    return {Point(network=name, depth=point.depth): runs for point, runs in points.items() if point.network == network}


def _nothing_in_common(ours: Points, theirs: Points, match: Match) -> str:
    if match == "depth":
        depths = (", ".join(str(point.depth) for point in points) for points in (ours, theirs))
        return f"no depth in common: L={' and L='.join(depths)}"
    depth_in_common = {point.depth for point in ours} & {point.depth for point in theirs}
    hint = "; dnlbench compare --match depth compares two networks at equal depth" if depth_in_common else ""
    return f"no network and depth in common: {_named(ours)} and {_named(theirs)}{hint}"


def _named(points: Iterable[Point]) -> str:
    return ", ".join(f"{point.network} L={point.depth}" for point in points)
