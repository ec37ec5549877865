"""What a sweep keeps on disk: its run directory."""

from dnlbench.store.rundir import Execution, RunDir

__all__ = ["Execution", "RunDir"]
