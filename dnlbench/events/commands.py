"""Commands: what people ask a running engine to do."""

from __future__ import annotations

import time
import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Action = Literal["pause", "resume", "cancel", "retry", "release"]


class Command(BaseModel):
    """One request: to some runs, to a device, or, without either, to the whole sweep.

    =========  ======================================================================================================
    pause      put what is under way aside at its next training step, with a checkpoint, and begin nothing there
    release    of a device: pause it and end its worker processes, so that its memory is free for others
    resume     take up what was paused or released; of the sweep: all of it
    cancel     end runs for good; of the sweep: end the engine, as Ctrl+C does
    retry      do runs again that failed, ran out of memory, diverged or were cancelled; of the sweep: all of those
    =========  ======================================================================================================
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    time: float = Field(default_factory=time.time)
    action: Action
    run_ids: tuple[str, ...] = ()
    device: str | None = None
    """As in ``--device``, such as ``cuda:1``; or one slot of it, such as ``cpu/0``."""


def read_command(line: bytes) -> Command | None:
    """One line of the control file; None for what is none."""
    try:
        return Command.model_validate_json(line)
    except ValidationError:
        return None
