"""What Ray says of an actor that did not do what it was asked to, in our words."""

from __future__ import annotations

import re

from dnlbench.events import RunError
from dnlbench.executor.base import Cause, WorkerFailure
from dnlbench.files import is_disk_full


def failure_of(error: Exception, where: str) -> WorkerFailure:
    """What an error of Ray's means for the runs of a remote worker that was there."""
    import ray

    kind = "RemoteWorkerLost" if isinstance(error, ray.exceptions.RayActorError) else type(error).__name__
    return WorkerFailure(cause=_cause(error), error=RunError(type=kind, message=f"{where}: {_in_words(error)}"))


def _cause(error: Exception) -> Cause:
    """Why the runs were lost. A machine or an actor that is gone is not their fault."""
    import ray

    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "host-memory"
    if isinstance(error, ray.exceptions.RayActorError):
        return "device" if error.actor_init_failed else "killed"
    if isinstance(error, ray.exceptions.RayTaskError):  # the remote worker's own
        return "device" if is_disk_full(error.cause) else "process"
    return "killed"  # what it had to say was lost with its machine


def _in_words(error: Exception) -> str:
    """What an error of Ray's says, without names and numbers that mean something to Ray alone."""
    import ray

    lines = [line for line in str(error).splitlines() if line.strip()]
    if getattr(error, "actor_init_failed", False) or isinstance(error, ray.exceptions.RayTaskError):
        return lines[-1]  # of a traceback
    telling = [
        line for line in lines if not line.startswith("\t") and not line.startswith("The actor died unexpectedly")
    ]
    return re.split(
        r" (?:Worker exit detail|Some common causes|Node Id|There are some potential)", " ".join(telling or lines)
    )[0]
