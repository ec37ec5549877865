"""The noise floor of a machine: how far two measurements of the very same thing differ there.

It is measured by ``dnlbench calibrate``, which lets identical code take turns with itself, several times, and kept for the
machine's fingerprint in ``noise.json`` beside the other remembered measurements; ``$DNLBENCH_CACHE_DIR`` names another folder.
A gate takes no tolerance to be smaller than the floor.

*Definition.* Each round r gives, for each network i, a single figure for all depths and seeds: the log x_ri of the geometric
mean of head over base. Both are the same code, so the x_ri have mean 0, and only a spread has to be learned of them:

    s² = mean of x_ri² over all rounds and networks,    floor = exp(t_{0.975, n} s) − 1

with n their number and t the quantile of Student's distribution with n degrees of freedom. This is the upper end of the
two-sided 95 % prediction interval: of identical code, the figure of one network differs by more in one further session of
twenty. Few rounds make t, and so the floor, larger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.errors import ConfigurationError
from dnlbench.executor.remembered import LOCK_PATIENCE_S, cache_folder
from dnlbench.files import write_atomically
from dnlbench.stats.student import t_quantile

MOST = 100
"""Machines; the oldest go first."""


class Floor(BaseModel):
    """Of one machine."""

    model_config = ConfigDict(frozen=True)

    measured: datetime
    sweep: str
    """Name of the sweep that was measured."""
    rounds: int
    networks: tuple[str, ...]
    device: str
    threads: int
    torch: str
    floors: Mapping[str, float]
    """Relative difference by quantity: 0.02 is 2 %."""


class _File(BaseModel):
    schema_: int = 1
    machines: dict[str, Floor] = {}


class NoiseFile:
    """The file. One that cannot be read is as good as none."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_folder() / "noise.json"

    def get(self, fingerprint: str) -> Floor | None:
        """What is known of a machine."""
        return self._read().get(fingerprint)

    def put(self, fingerprint: str, floor: Floor) -> None:
        """Remembers it instead of what was known before.

        Raises:
            ConfigurationError: if that is not possible.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_PATIENCE_S):
                known = {key: value for key, value in self._read().items() if key != fingerprint}
                kept = dict(list({**known, fingerprint: floor}.items())[-MOST:])
                write_atomically(self.path, _File(machines=kept).model_dump_json(indent=1).encode())
        except (OSError, Timeout) as error:
            raise ConfigurationError(f"{self.path}: the noise floor cannot be kept there: {error}") from error

    def _read(self) -> dict[str, Floor]:
        try:
            return _File.model_validate(json.loads(self.path.read_bytes())).machines
        except (OSError, ValueError, ValidationError, RecursionError):
            return {}


def known_floors(fingerprint: str) -> Mapping[str, float]:
    """By quantity, of a machine; nothing where none was measured."""
    floor = NoiseFile().get(fingerprint)
    return floor.floors if floor else {}


def noise_floor(log_ratios: Sequence[float]) -> float:
    """The relative difference that equal code stays below in 95 of 100 cases; see the module's text.

    Args:
        log_ratios: of head over base, of identical code; at least one.
    """
    n = len(log_ratios)
    spread = math.sqrt(math.fsum(x * x for x in log_ratios) / n)
    return math.expm1(t_quantile(n) * spread)
