"""Commands: requests of a user to a running engine."""

from __future__ import annotations

import time
import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Action = Literal["pause", "resume", "cancel", "retry", "release"]


class Command(BaseModel):
    """A request that concerns some runs, a device or, without either, the whole sweep.

    =========  ======================================================================================================
    pause      suspend runs at their next training step, with a checkpoint, and start nothing until a resume
    release    for a device only: pause it and end its worker processes, which frees its memory
    resume     resume what was paused or released; for the sweep: everything
    cancel     end runs permanently; for the sweep: end the engine, like Ctrl+C
    retry      repeat runs that failed, ran out of memory, diverged or were cancelled; for the sweep: all of those
    =========  ======================================================================================================
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    time: float = Field(default_factory=time.time)
    action: Action
    run_ids: tuple[str, ...] = ()
    device: str | None = None
    """A device as in ``--device``, such as ``cuda:1``, or one of its slots, such as ``cpu/0``."""


def read_command(line: bytes) -> Command | None:
    """Parse one line of the control file; return None if it is not a command."""
    try:
        return Command.model_validate_json(line)
    except ValidationError:
        return None
