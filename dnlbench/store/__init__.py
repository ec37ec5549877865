"""The run directory, in which a sweep keeps its files."""

from dnlbench.store.checkpoint_files import CheckpointFiles
from dnlbench.store.control import ControlFile, send_command
from dnlbench.store.follow import Journal, RunFollower, SweepFollower
from dnlbench.store.rundir import RunDir
from dnlbench.store.state import SweepState, SweepView
from dnlbench.store.sweep_file import ANY, Execution
