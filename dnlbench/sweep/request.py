"""What is asked of the conductor: a plan, and how it is to be carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dnlbench.errors import ConfigurationError
from dnlbench.plan import Plan

ExecutorName = Literal["local", "inline", "ray"]
MOST = 4096
"""Jobs, threads or runs of a pack: more than machines have cores. A larger number is a slip, and each job is a process."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A plan and how it is to be carried out."""

    plan: Plan
    inputs: tuple[Path, ...] = ()
    """Files that it was read from, which no output may replace."""
    out: Path | None = None
    """Where the profile goes; None: a new file below ``profiles/``."""
    run_dir: Path | None = None
    """None: one folder for each spec and way to carry it out, below ``.dnlbench/runs/``."""
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    pack: int | None = None
    """Runs of a point that train together, at most; None: what pays, or what a run directory was begun with."""
    executor: ExecutorName = "local"
    ray_address: str | None = None
    """Of a cluster that is there; None: one of this machine alone, for as long as the sweep takes."""
    ray_insecure: bool = False
    """Whether a cluster will do that anybody can reach and make use of."""
    checkpoint_s: float = 30.0
    """A checkpoint is kept after that many seconds of an epoch at the latest, beside the one after each epoch."""
    resume: bool = False
    """Insist that there is something to go on with."""
    keep_weights: bool = False
    """Whether the final weights are kept in a folder beside the profile."""
    session: str | None = None
    """Its runs wait for commands to resume them, since they take turns with those of another sweep: the name of both."""

    def __post_init__(self) -> None:
        """Refuses numbers that can only be a slip.

        Raises:
            ConfigurationError: for such a number.
        """
        for option in ("jobs", "threads", "pack"):
            number = getattr(self, option)
            if number is not None and not 1 <= number <= MOST:
                raise ConfigurationError(f"--{option} {number}: choose a number from 1 to {MOST}")
