"""Profiles: the saved results of sweeps."""

from dnlbench.profiles.files import check_profile, read_profile, save_profile
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
from dnlbench.profiles.reduce import reduce_run_dir
from dnlbench.profiles.summary import summarise
from dnlbench.profiles.values import values_of

__all__ = [
    "SCHEMA",
    "CostRecord",
    "EpochRecord",
    "FitRecord",
    "IntervalRecord",
    "ListedProfile",
    "PointSummary",
    "Profile",
    "RunRecord",
    "Summary",
    "check_profile",
    "list_profiles",
    "read_listed",
    "read_profile",
    "reduce_run_dir",
    "save_profile",
    "summarise",
    "values_of",
]
