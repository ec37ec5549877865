"""The conductor: one sweep from what is asked to its saved profile."""

from dnlbench.sweep.conduct import Result, run_sweep
from dnlbench.sweep.outcome import check_out, check_outcome, used_by
from dnlbench.sweep.place import Place, choose_place, find_run_dir
from dnlbench.sweep.request import Request
from dnlbench.sweep.tuning import tune

__all__ = [
    "Place",
    "Request",
    "Result",
    "check_out",
    "check_outcome",
    "choose_place",
    "find_run_dir",
    "run_sweep",
    "tune",
    "used_by",
]
