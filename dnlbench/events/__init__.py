"""Events: what happened, in order, as frozen records that are one JSON object a line.

They are the truth of a sweep. Runners yield them, the run directory keeps them, and progress, screens and profiles are
reduced from them.
"""

from dnlbench.events.history import Attempt, RunHistory, fold
from dnlbench.events.records import (
    DataInfo,
    EngineEnded,
    EngineStarted,
    EpochDone,
    Event,
    JournalEvent,
    Prepared,
    RunEnded,
    RunError,
    RunEvent,
    RunLeased,
    RunStarted,
    RunStatus,
    SlotSetAside,
    read_journal_event,
    read_run_event,
)

__all__ = [
    "Attempt",
    "DataInfo",
    "EngineEnded",
    "EngineStarted",
    "EpochDone",
    "Event",
    "JournalEvent",
    "Prepared",
    "RunEnded",
    "RunError",
    "RunEvent",
    "RunHistory",
    "RunLeased",
    "RunStarted",
    "RunStatus",
    "SlotSetAside",
    "fold",
    "read_journal_event",
    "read_run_event",
]
