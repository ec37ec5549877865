"""Events of a sweep in order, as frozen records that are written as one JSON object per line.

Events are the only source of a sweep's state. Runners yield them, the run directory stores them, and progress, screens and
profiles are derived from them.
"""

from dnlbench.events.commands import Action, Command, read_command
from dnlbench.events.epochs import Epochs
from dnlbench.events.history import Attempt, RunHistory, flops_utilization, fold, fold_lines
from dnlbench.events.pause_state import CLUSTER, PauseState, device_of
from dnlbench.events.records import (
    CommandDone,
    DataInfo,
    DiskFree,
    DiskFull,
    EngineEnded,
    EngineStarted,
    EpochDone,
    EpochRecord,
    Event,
    JournalEvent,
    Measured,
    NetworkMeasured,
    PointMemory,
    Prepared,
    RunEnded,
    RunError,
    RunEvent,
    RunLeased,
    RunPaused,
    RunRequeued,
    RunReturned,
    RunStarted,
    RunStatus,
    SlotDisabled,
    read_journal_event,
    read_run_event,
)
