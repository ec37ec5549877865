"""Profiles: the saved results of sweeps."""

from dnlbench.events import EpochRecord
from dnlbench.profiles.contrasts import Contrast, contrasts_of
from dnlbench.profiles.files import check_profile, is_profile, read_profile, save_profile
from dnlbench.profiles.hardware import Hardware, NodeUse, alike, count_hardware, hardware_of, nodes_of
from dnlbench.profiles.learned import never_learned, never_learned_text, runs_that_never_learned
from dnlbench.profiles.listing import ListedProfile, list_profiles, read_listed
from dnlbench.profiles.model import (
    SCHEMA,
    ContrastRecord,
    CostRecord,
    FitRecord,
    IntervalRecord,
    PointSummary,
    Profile,
    RunRecord,
    Summary,
    TunedRecord,
)
from dnlbench.profiles.reduce import read_run_dir, reduce_run_dir, run_record
from dnlbench.profiles.summary import summarize
from dnlbench.profiles.values import by_point, clock_of, interval_of, one_per_pack, values_of
from dnlbench.profiles.verdicts import Verdict, judge, within
from dnlbench.spec.settings import differing_settings, flat_settings, settings_text
