"""The noise floor of a machine: how far two measurements of the very same thing differ there.

It is measured by ``dnlbench calibrate``, which lets identical code take turns with itself, several times, and kept in
``noise.json`` beside the other remembered measurements, for the machine's fingerprint, the kind of device and the threads of a
run; ``$DNLBENCH_CACHE_DIR`` names another folder. A gate takes no tolerance to be smaller than the floor.

*Definition.* Each round r, a session of its own, gives for each network i a single figure for all depths and seeds: the log
x_ri of the geometric mean of head over base. What the machine did meanwhile is common to the networks of a round, so a round
counts once, with the network that differs most:

    m_r = max of |x_ri| over the networks,    s² = mean of m_r² over the rounds,    floor = exp(t_{0.975, n} s) − 1

with n the number of rounds and t the quantile of Student's distribution with n degrees of freedom: both sides are the same
code, so the x_ri have mean 0, and only a spread has to be learned of them. In 19 of 20 further sessions no network of identical
code differs by more. For one network, and for several that differ alike, that is exact where the x_ri are normal; for several
that differ each in their own way it is more than 19. Few rounds make t, and so the floor, larger: t is 12.7 with one, 3.2 with
three and 2.4 with seven.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from dnlbench.cache import CacheFile, cache_folder
from dnlbench.machine import Machine
from dnlbench.profiles import Profile, RunRecord, hardware_of
from dnlbench.stats.student import t_quantile

MOST = 100
"""Floors; the oldest go first."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """What a floor speaks for: runs there, and no others."""

    fingerprint: str
    """The machine's."""
    device_kind: str
    threads: int

    @property
    def key(self) -> str:
        return f"{self.fingerprint}/{self.device_kind}/{self.threads}"


class Floor(BaseModel):
    """Of runs on one kind of device of a machine, each with so many threads."""

    model_config = ConfigDict(frozen=True)

    measured: datetime
    sweep: str
    rounds: int
    networks: tuple[str, ...]
    device: str
    """As in ``--device``."""
    threads: int
    torch: str
    floors: Mapping[str, float]
    """Relative difference by quantity: 0.02 is 2 %."""

    def where(self, fingerprint: str) -> Where:
        """What it speaks for, on the machine of that fingerprint."""
        return Where(fingerprint=fingerprint, device_kind=_kind(self.device), threads=self.threads)


class NoiseFile:
    """The file."""

    def __init__(self) -> None:
        self._file = CacheFile(cache_folder() / "noise.json", "machines", Floor, most=MOST)
        self.path = self._file.path

    def get(self, where: Where) -> Floor | None:
        return self._read().get(where.key)

    def of_machine(self, fingerprint: str) -> list[Floor]:
        """What is known of a machine, the latest last."""
        return [floor for key, floor in self._read().items() if key == floor.where(fingerprint).key]

    def put(self, fingerprint: str, floor: Floor) -> None:
        """Remembers it instead of what was known of such runs on that machine.

        Raises:
            ConfigurationError: if that is not possible.
        """
        self._file.put(floor.where(fingerprint).key, floor)

    def _read(self) -> dict[str, Floor]:
        """By `Where.key`. Earlier versions had one floor a machine, by its fingerprint alone."""
        return {key if "/" in key else floor.where(key).key: floor for key, floor in self._file.read().items()}


def known_floors(profile: Profile) -> Mapping[str, float]:
    """By quantity, of runs where a profile's were carried out; nothing where none was measured.

    If they were carried out in several ways, or on several machines of a cluster, the largest floor that is known of any. That
    of the machine from which a cluster was steered says nothing of runs elsewhere.
    """
    memory, largest = NoiseFile(), dict[str, float]()
    for where in {where for run in profile.runs for where in _ways(run, profile.machine)}:
        floor = memory.get(where)
        for name, value in floor.floors.items() if floor else ():
            largest[name] = max(value, largest.get(name, 0.0))
    return largest


def _ways(run: RunRecord, own: Machine) -> Iterator[Where]:
    """Where a run was carried out; nothing of one that never began, or of a version that did not say."""
    if run.device is not None and run.threads is not None:
        for place in hardware_of(run, own):
            yield Where(fingerprint=place.machine or "", device_kind=_kind(run.device), threads=run.threads)


def _kind(label: str) -> str:
    """``cuda`` of ``cuda:1``."""
    return label.partition(":")[0]


def noise_floor(rounds: Sequence[float]) -> float:
    """The relative difference that equal code stays below in 19 of 20 sessions; see the module's text.

    Args:
        rounds: of each, the log of head over base that is furthest from 0; at least one.
    """
    n = len(rounds)
    spread = math.sqrt(math.fsum(x * x for x in rounds) / n)
    return math.expm1(t_quantile(n) * spread)
