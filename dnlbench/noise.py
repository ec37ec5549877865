"""The noise floor of a machine: how much two measurements of identical code differ.

``dnlbench calibrate`` measures it with paired benchmarks of a sweep against itself. The file ``noise.json`` in the cache folder
(``$DNLBENCH_CACHE_DIR``) stores it by machine fingerprint, kind of device and threads of a run. A gate raises any smaller
tolerance to this floor.

*Definition.* Each round r is a session. It gives one value for each network i, over all depths and seeds: the log x_ri of the
geometric mean of head over base. Disturbances of the machine are common to the networks of a round, so a round counts once,
with the network that differs most:

    m_r = max of |x_ri| over the networks,    s² = mean of m_r² over the rounds,    floor = exp(t_{0.975, n} s) − 1

where n is the number of rounds and t the quantile of Student's t distribution with n degrees of freedom. Base and head run the
same code, so the x_ri have mean 0, and only their spread is estimated. In 19 of 20 further sessions, no network of identical
code differs by more. For one network, or several perfectly correlated ones, this is exact for normal x_ri; otherwise it is
conservative. Few rounds give a large t and a large floor: t is 12.7 for one, 3.2 for three and 2.4 for seven rounds.
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
"""Maximum number of stored floors. The oldest are deleted first."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The runs to which a floor applies."""

    fingerprint: str
    """Fingerprint of the machine."""
    device_kind: str
    threads: int

    @property
    def key(self) -> str:
        return f"{self.fingerprint}/{self.device_kind}/{self.threads}"


class Floor(BaseModel):
    """The noise floor of runs on one kind of device of a machine, with a number of threads."""

    model_config = ConfigDict(frozen=True)

    measured: datetime
    sweep: str
    rounds: int
    networks: tuple[str, ...]
    device: str
    """The device, in the notation of ``--device``."""
    threads: int
    torch: str
    floors: Mapping[str, float]
    """Relative difference by quantity name; 0.02 is 2 %."""

    def conditions(self, fingerprint: str) -> Conditions:
        """Return the runs to which it applies on the machine with this fingerprint."""
        return Conditions(fingerprint=fingerprint, device_kind=_kind(self.device), threads=self.threads)


class NoiseFile:
    """The file of noise floors."""

    def __init__(self) -> None:
        self._file = CacheFile(cache_folder() / "noise.json", "machines", Floor, most=MOST)
        self.path = self._file.path

    def get(self, conditions: Conditions) -> Floor | None:
        return self._read().get(conditions.key)

    def of_machine(self, fingerprint: str) -> list[Floor]:
        """Return the floors of a machine, the latest last."""
        return [floor for key, floor in self._read().items() if key == floor.conditions(fingerprint).key]

    def put(self, fingerprint: str, floor: Floor) -> None:
        """Store a floor, in place of an earlier one for the same runs.

        Raises:
            ConfigurationError: if the file cannot be written.
        """
        self._file.put(floor.conditions(fingerprint).key, floor)

    def _read(self) -> dict[str, Floor]:
        """Return all floors by `Conditions.key`. Earlier versions stored one floor by fingerprint alone."""
        return {key if "/" in key else floor.conditions(key).key: floor for key, floor in self._file.read().items()}


def known_floors(profile: Profile) -> Mapping[str, float]:
    """Return the noise floor of a profile's runs by quantity name; empty without a calibration.

    If the runs used several machines, devices or numbers of threads, return the largest known floor. The floor of a cluster's
    head machine does not apply to runs on other machines.
    """
    file, largest = NoiseFile(), dict[str, float]()
    for conditions in {conditions for run in profile.runs for conditions in _hardware(run, profile.machine)}:
        floor = file.get(conditions)
        for name, value in floor.floors.items() if floor else ():
            largest[name] = max(value, largest.get(name, 0.0))
    return largest


def _hardware(run: RunRecord, machine: Machine) -> Iterator[Conditions]:
    """Yield the hardware of a run; nothing for runs that never started, or that lack the record."""
    if run.device is not None and run.threads is not None:
        for hardware in hardware_of(run, machine):
            yield Conditions(fingerprint=hardware.machine or "", device_kind=_kind(run.device), threads=run.threads)


def _kind(label: str) -> str:
    """Return the kind of a device, such as ``cuda`` for ``cuda:1``."""
    return label.partition(":")[0]


def noise_floor(rounds: Sequence[float]) -> float:
    """Return the relative difference that identical code exceeds in 1 of 20 sessions; see the module docstring.

    Args:
        rounds: log of head over base with the largest absolute value, for each round; at least one.
    """
    n = len(rounds)
    spread = math.sqrt(math.fsum(x * x for x in rounds) / n)
    return math.expm1(t_quantile(n) * spread)
