"""Profiles: the saved results of sweeps."""

from dnlbench.profiles.files import check_profile, read_profile, save_profile
from dnlbench.profiles.hardware import Hardware, NodeUse, alike, count_hardware, hardware_of, nodes_of
from dnlbench.profiles.listing import ListedProfile, list_profiles, read_listed
from dnlbench.profiles.model import (
    SCHEMA,
    CostRecord,
    EpochRecord,
    FitRecord,
    IntervalRecord,
    PointSummary,
    Profile,
    RunRecord,
    Summary,
)
from dnlbench.profiles.reduce import attempt_record, reduce_run_dir
from dnlbench.profiles.summary import summarise
from dnlbench.profiles.values import values_of

__all__ = [
    "SCHEMA",
    "CostRecord",
    "EpochRecord",
    "FitRecord",
    "Hardware",
    "IntervalRecord",
    "ListedProfile",
    "NodeUse",
    "PointSummary",
    "Profile",
    "RunRecord",
    "Summary",
    "alike",
    "attempt_record",
    "check_profile",
    "count_hardware",
    "hardware_of",
    "list_profiles",
    "nodes_of",
    "read_listed",
    "read_profile",
    "reduce_run_dir",
    "save_profile",
    "summarise",
    "values_of",
]
