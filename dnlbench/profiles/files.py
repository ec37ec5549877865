"""Profile files: saved atomically, and read with errors that name file, location and cause."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dnlbench.errors import ProfileError
from dnlbench.events import flops_utilization
from dnlbench.files import read_regular, write_new
from dnlbench.outputs import write_output
from dnlbench.plan import run_label
from dnlbench.profiles.model import SCHEMA, FitRecord, Profile, Record, RunRecord, Summary
from dnlbench.profiles.reduce import read_run_dir
from dnlbench.profiles.summary import contrast_records, derived, summarize
from dnlbench.profiles.values import CURRENT, Method
from dnlbench.studies import STUDIES, Study

MOST_BYTES = 2**30
"""Maximum size of a profile; a sweep of 100,000 runs with 20 epochs takes about 700 MB."""
LONGEST_INTEGER = 100
"""Maximum digits of an integer. Profiles contain no longer ones, and floats cannot represent much longer ones."""
RATE_TOLERANCE = 1e-9
"""Relative tolerance of recomputed rates and intervals, which differ by rounding."""
FIT_TOLERANCE = 1e-6
"""Relative tolerance of recomputed fits, which differ in the last digits between machines."""
FIT_ZERO = 1e-12
"""Absolute tolerance of recomputed fits: bounds that are 0 on one machine may be this large on another."""
SENTENCES = {"reason", "problem", "refused", "undetermined"}
"""The fields of a summary that explain a result in words."""
_LONG_NUMBER = b"0" * (LONGEST_INTEGER + 1)
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_START = re.compile(rb'\s*\{\s*"schema"\s*:\s*"dnlbench\.profile/[12]"\s*,')
_OF_ANY_VERSION = re.compile(rb'\s*\{\s*"schema"\s*:\s*"dnlbench\.profile/\d+"\s*,')
FOLDER = Path("profiles")
"""Default folder of profiles, below the current folder."""
METHOD_0_7 = Method(one_per_pack=False, within_range=False, local_orders=False)
METHOD_0_6 = Method(one_hardware=False, one_per_pack=False, within_range=False, local_orders=False)
F = TypeVar("F", bound=BaseModel)


def save_profile(profile: Profile, path: Path | None = None) -> Path:
    """Write a profile to the path, or under a new name made of sweep and time.

    Returns:
        The path. Sweeps that end at the same moment get different names.
    """
    if path is None:
        return write_new(_free_paths(profile.name, profile.created), profile.to_json())
    write_output(path, profile.to_json())
    return path


def _free_paths(name: str, created: datetime) -> Iterator[Path]:
    stem = f"{name}-{created.astimezone():%Y%m%d-%H%M%S}"
    return (FOLDER / f"{stem}{suffix}.json" for suffix in chain([""], (f"-{n}" for n in count(2))))


def is_profile(path: Path) -> bool:
    """Return True if a file is a profile of any version, valid or not."""
    with path.open("rb") as file:
        if _OF_ANY_VERSION.match(file.read(1000)):
            return True
    try:
        read_profile_file(path)
    except ProfileError:
        return False
    return True


def read_profile(path: Path) -> Profile:
    """Read the profile of a file or of a run directory; see `read_profile_file` and `read_run_dir`."""
    return read_run_dir(path) if path.is_dir() else read_profile_file(path)


def read_profile_file(path: Path) -> Profile:
    """Read a saved profile.

    Raises:
        ProfileError: if the file is missing, not JSON, of a newer schema, invalid, or of an unknown study.
    """
    try:
        profile = _parse(path)
    except RecursionError as error:
        raise ProfileError(f"{path}: not a profile: nested too deeply") from error
    if profile.study not in STUDIES:
        raise ProfileError(f"{path}: study {profile.study!r} is not known to this version ({', '.join(STUDIES)})")
    if problem := next(_impossible(profile, profile.declared), None):
        raise ProfileError(f"{path}: {problem}")
    return _with_contrasts(profile)


def _with_contrasts(profile: Profile) -> Profile:
    if profile.summary.contrasts:
        return profile
    contrasts = contrast_records(profile.runs, profile.declared)
    return (
        profile.model_copy(update={"summary": profile.summary.model_copy(update={"contrasts": contrasts})})
        if contrasts
        else profile
    )


def _impossible(profile: Profile, study: Study) -> Iterator[str]:
    """Yield values that are impossible in the study, beyond those that the types refuse."""
    for index, run in enumerate(profile.runs):
        if not run.network:
            yield f"runs.{index}.network = '': a network has a name"
        if not run.run_id or set("/\\\0") & set(run.run_id):  # it names the file of the run's weights
            yield f"runs.{index}.run_id = {run.run_id!r}: not a file name"
        if run.epochs and not study.has_epochs:
            yield f"runs.{index}.epochs: runs of study {study.name!r} have no epochs"
        for number, epoch in enumerate(run.epochs, start=1):
            if epoch.epoch != number:
                yield f"runs.{index}.epochs.{number - 1}.epoch = {epoch.epoch}: expected {number}, since epochs count from 1"
    quantities = {quantity.name for quantity in study.quantities}
    for index, point in enumerate(profile.summary.points):
        if not point.network:
            yield f"summary.points.{index}.network = '': a network has a name"
    named = {
        "fits": [fit.quantity for fit in profile.summary.fits],
        "costs": [cost.quantity for cost in profile.summary.costs],
        "contrasts": [contrast.quantity for contrast in profile.summary.contrasts],
    }
    for kind, names in named.items():
        for index, name in enumerate(names):
            if name not in quantities:
                known = ", ".join(sorted(quantities))
                yield f"summary.{kind}.{index}.quantity = {name!r}: study {study.name!r} has {known}"


def _parse(path: Path) -> Profile:
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    if _LONG_NUMBER not in content.translate(_DIGITS_AS_ZERO):
        profile = parse_as_written(Profile, content)
        if profile is not None:
            return profile
    return _parse_with_care(path, content)


def parse_as_written(form: type[F], content: bytes) -> F | None:
    """Parse a profile with the schema as its first key, in a quarter of the time of `_parse_with_care`.

    Returns:
        The profile; None if anything is unusual or invalid, which `read_profile` then handles.
    """
    if not _START.match(content):
        return None
    try:
        return form.model_validate_json(content)
    except ValidationError:
        return None


def _parse_with_care(path: Path, content: bytes) -> Profile:
    try:
        document = json.loads(content, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not a profile: not UTF-8 text ({error})") from error
    except json.JSONDecodeError as error:
        raise ProfileError(f"{path}:{error.lineno}: not a profile: not valid JSON: {error.msg}") from error
    except _TooLongError as error:
        raise ProfileError(f"{path}: not a profile: {error}") from error
    _check_schema(path, document)
    try:
        return Profile.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise ProfileError(_explain(path, error)) from error


class _TooLongError(ValueError):
    """An integer with more than `LONGEST_INTEGER` digits."""


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise _TooLongError(f"it contains an integer of {len(digits)} digits")
    return int(digits)


def _check_schema(path: Path, content: object) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    match = re.fullmatch(r"dnlbench\.profile/(\d{1,9})", str(schema))
    if not match:
        raise ProfileError(f"{path}: not a profile: its schema is {repr(schema)[:80]}, expected {SCHEMA!r}")
    if int(match[1]) > int(SCHEMA.rpartition("/")[2]):
        raise ProfileError(f"{path}: written by a newer dnlbench: schema {schema}, this version reads up to {SCHEMA}")


def _explain(path: Path, error: ValidationError) -> str:
    first, more = error.errors()[0], error.error_count() - 1
    location = ".".join(str(part) for part in first["loc"])
    value = "" if first["type"] == "missing" else f" = {str(first['input'])[:80]}"
    return f"{path}: {location}{value}: {first['msg']}" + (f" (and {more} more)" if more else "")


def check_profile(profile: Profile) -> list[str]:
    """Return the inconsistencies of a valid profile; usually none."""
    problems = [problem for run in profile.runs for problem in _contradictions(run)]
    ids = [run.run_id for run in profile.runs]
    if len(set(ids)) < len(ids):
        problems.append("runs: a run id occurs more than once")
    if not _follows(profile):
        problems.append("summary: differs from the one computed from the runs")
    unfinished = any(run.status in ("cancelled", "skipped") for run in profile.runs)
    if unfinished != (profile.state == "partial"):
        problems.append(f"state: {profile.state!r} does not fit the runs' statuses")
    return problems


def _follows(profile: Profile) -> bool:
    """Return True if the summary is that of the runs by the method of this or an older version."""
    study = profile.declared
    has_hardware = any(run.node or any(attempt.device_name for attempt in run.attempts) for run in profile.runs)
    methods = [CURRENT, METHOD_0_7] if has_hardware else [CURRENT, METHOD_0_7, METHOD_0_6]
    classes = profile.data.choices
    return any(_agree(profile.summary, summarize(profile.runs, study, method, classes=classes)) for method in methods)


def _agree(stated: Summary, computed: Summary) -> bool:
    """Compare points up to rounding, and fits, costs and contrasts up to differences of linear algebra.

    Profiles before 0.3 have no fits, those before 0.5 no costs, and those before 0.8 no contrasts and no fits of evaluation.
    The limits of profiles of 0.7 and before come from a fit that was never refused, and are not checked.
    """
    fitted = [fit for fit in computed.fits if any(fit.quantity == other.quantity for other in stated.fits)]
    fits = [theirs if _is_old_limit(ours) else ours for ours, theirs in zip(stated.fits, fitted, strict=False)]
    return (
        len(stated.fits) == len(fitted)
        and _same_records(stated.points, computed.points, RATE_TOLERANCE, 0.0)
        and all(
            not ours or _same_records(ours, theirs, FIT_TOLERANCE, FIT_ZERO)
            for ours, theirs in (
                (fits, fitted),
                (stated.costs, computed.costs),
                (stated.contrasts, computed.contrasts),
                (stated.tuned, computed.tuned),
            )
        )
    )


def _is_old_limit(fit: FitRecord) -> bool:
    return fit.limit is not None and not fit.form


def _same_records(stated: Sequence[Record], computed: Sequence[Record], tolerance: float, zero: float) -> bool:
    ours, theirs = ([_without_wording(record) for record in records] for records in (stated, computed))
    return _same_value(ours, theirs, tolerance, zero)


def _without_wording(record: Record) -> dict[str, Any]:
    """Return the fields of a record, with True in place of any sentence: versions of dnlbench word them differently."""
    return {key: bool(value) if key in SENTENCES else value for key, value in record.model_dump().items()}


def _same_value(stated: Any, computed: Any, tolerance: float, zero: float) -> bool:
    if isinstance(computed, dict) and isinstance(stated, dict):
        same = (_same_value(stated[key], computed[key], tolerance, zero) for key in computed)
        return stated.keys() == computed.keys() and all(same)
    if isinstance(computed, list | tuple) and isinstance(stated, list | tuple):
        same = (_same_value(ours, theirs, tolerance, zero) for ours, theirs in zip(stated, computed, strict=False))
        return len(stated) == len(computed) and all(same)
    if isinstance(computed, float) and isinstance(stated, float):
        return _same(stated, computed, tolerance, zero)
    return bool(stated == computed)


def _contradictions(run: RunRecord) -> Iterator[str]:
    """Yield the values of a run that contradict its other fields or its epochs."""
    label = run_label(run.point, run.seed)
    if run.run_id.rpartition("-")[0] != label:
        yield f"{run.run_id}: network, depth and seed give {label}"
    numbers = [epoch.epoch for epoch in run.epochs]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"{run.run_id}: its epochs are not 1 to {len(numbers)}, in this order"
    computed = flops_utilization(run.samples_per_s, run.flops_per_sample, run.peak_flops, run.pack_size)
    if not _same(run.utilisation, computed, RATE_TOLERANCE):
        yield f"{run.run_id}: utilization is {run.utilisation}, but its rates give {computed}"
    for field, computed in derived(run.epochs).items():
        stated = getattr(run, field)
        if not _same(stated, computed, RATE_TOLERANCE if field == "samples_per_s" else 0.0):
            yield f"{run.run_id}: {field} is {stated}, but its epochs give {computed}"


def _same(stated: float | None, computed: float | None, tolerance: float, absolute: float = 0.0) -> bool:
    if stated is None or computed is None:
        return stated is computed
    close = math.isclose(stated, computed, rel_tol=tolerance, abs_tol=absolute)
    return close or (math.isnan(stated) and math.isnan(computed))
