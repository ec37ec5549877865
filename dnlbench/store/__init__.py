"""What a sweep keeps on disk: the run directory and the few ways in which files are written and read."""

from dnlbench.store.files import LineFollower, LineWriter, read_lines, write_atomically
from dnlbench.store.rundir import Execution, RunDir

__all__ = ["Execution", "LineFollower", "LineWriter", "RunDir", "read_lines", "write_atomically"]
