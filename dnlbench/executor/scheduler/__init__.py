"""The scheduler: which run goes to which slot and when. It alone writes the journal, for every executor."""

from dnlbench.executor.scheduler.loop import Scheduler

__all__ = ["Scheduler"]
