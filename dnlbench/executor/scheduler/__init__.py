"""The scheduler, which decides when each run starts and on which slot. Only the scheduler writes the journal."""

from dnlbench.executor.scheduler.loop import Scheduler

__all__ = ["Scheduler"]
