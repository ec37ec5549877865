"""Profiles as files: saved whole or not at all, read with errors that name file, place and cause."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from dnlbench.errors import ProfileError
from dnlbench.files import write_atomically
from dnlbench.profiles.model import SCHEMA, Profile
from dnlbench.profiles.summary import summarise
from dnlbench.studies import STUDIES

FOLDER = Path("profiles")
"""Where profiles are saved and looked for unless told otherwise, below the current folder."""


def save_profile(profile: Profile, path: Path | None = None) -> Path:
    """Writes a profile and gives its path back: the one asked for, or a new one named by sweep and time."""
    target = path or _free_path(profile.name, profile.created)
    write_atomically(target, profile.to_json())
    return target


def _free_path(name: str, created: datetime) -> Path:
    stem = f"{name}-{created.astimezone():%Y%m%d-%H%M%S}"
    candidates = (FOLDER / f"{stem}{suffix}.json" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


def read_profile(path: Path) -> Profile:
    """A saved profile.

    Raises:
        ProfileError: if the file is absent, not JSON, of a newer schema or of the wrong form.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not a profile: not UTF-8 text ({error})") from error
    except json.JSONDecodeError as error:
        raise ProfileError(f"{path}:{error.lineno}: not a profile: not valid JSON: {error.msg}") from error
    _check_schema(path, content)
    try:
        return Profile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ProfileError(_explain(path, error)) from error


def _check_schema(path: Path, content: object) -> None:
    found = content.get("schema") if isinstance(content, dict) else None
    match = re.fullmatch(r"dnlbench\.profile/(\d+)", str(found))
    if not match:
        raise ProfileError(f"{path}: not a profile: its schema is {found!r}, expected {SCHEMA!r}")
    if int(match[1]) > int(SCHEMA.rpartition("/")[2]):
        raise ProfileError(f"{path}: written by a newer dnlbench: schema {found}, this version reads up to {SCHEMA}")


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for details in error.errors()[:5]:
        place = ".".join(str(part) for part in details["loc"])
        value = "" if details["type"] == "missing" else f" = {str(details['input'])[:80]}"
        lines.append(f"{path}: {place}{value}: {details['msg']}")
    more = error.error_count() - len(lines)
    return "\n".join([*lines, f"{path}: and {more} more"] if more else lines)


def check_profile(profile: Profile) -> list[str]:
    """What is inconsistent in a profile of the right form; nothing, as a rule."""
    study = STUDIES.get(profile.study)
    if study is None:
        return [f"study {profile.study!r} is not known to this version ({', '.join(STUDIES)})"]
    problems = []
    ids = [run.run_id for run in profile.runs]
    if len(set(ids)) < len(ids):
        problems.append("runs: a run id occurs more than once")
    if summarise(profile.runs, study.quantities) != profile.summary:
        problems.append("summary: differs from what the runs add up to")
    unfinished = any(run.status in ("cancelled", "skipped") for run in profile.runs)
    if unfinished != (profile.state == "partial"):
        problems.append(f"state: {profile.state!r} does not fit the runs' statuses")
    return problems


def list_profiles(folder: Path) -> Iterator[tuple[Path, Profile | ProfileError]]:
    """Every JSON file of a folder, by name, as a profile or as the reason why it is none."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield path, read_profile(path)
        except ProfileError as error:
            yield path, error
