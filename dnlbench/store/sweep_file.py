"""``sweep.json``: the plan of a run directory, and how its runs are carried out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.errors import RunDirError
from dnlbench.files import write_atomically
from dnlbench.plan import Plan
from dnlbench.studies import STUDIES

SCHEMA = "dnlbench.sweep/2"


class Execution(BaseModel):
    """How runs are carried out, as far as their results depend on it. Results are bit-equal where this is equal."""

    model_config = ConfigDict(frozen=True)

    device_kind: str
    threads: int
    pack_size: int
    torch: str
    machine: str
    """Fingerprint of the hardware."""
    source: str
    """Hash of dnlbench's own code."""


def write_sweep(path: Path, plan: Plan, execution: Execution) -> None:
    """Writes the plan. A plan that is already there is replaced if the two can share their runs.

    They can if they differ in nothing but the name, the axes, the number of epochs where fewer of them are the beginning of
    more, and the place of the data. Runs of the earlier plan that the new one does not ask for stay where they are.

    Raises:
        RunDirError: if the directory belongs to another sweep, or to this one carried out in another way.
    """
    mine: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": plan.settings_hash,
        "execution": execution.model_dump(),
        "study": plan.spec.study,
        "spec": plan.spec.model_dump(mode="json"),
        "runs": [run.run_id for run in plan.runs],
        "points": [[run.point.network, run.point.depth, run.seed] for run in plan.runs],
    }
    if path.exists():
        _check_shares_runs(path, mine)
    write_atomically(path, json.dumps(mine, indent=1, ensure_ascii=False).encode())


def read_sweep(path: Path) -> Plan:
    """The plan of a run directory.

    Raises:
        RunDirError: if there is none, or one that this version cannot read.
    """
    content = _read(path)
    try:
        study = STUDIES[str(content["study"])]
        return Plan(study.spec.model_validate_json(json.dumps(content["spec"]), strict=True))
    except (KeyError, ValidationError) as error:
        raise RunDirError(f"{path}: holds no spec that this version reads: {error}") from error


def read_execution(path: Path) -> Execution:
    """How the runs of a run directory are carried out.

    Raises:
        RunDirError: if there is none, or one that this version cannot read.
    """
    try:
        return Execution.model_validate(_read(path)["execution"])
    except ValidationError as error:
        raise RunDirError(f"{path}: does not say how its runs are carried out: {error}") from error


def _check_shares_runs(path: Path, mine: dict[str, Any]) -> None:
    theirs = _read(path)
    there, here = _facts(theirs), _facts(mine)
    differing = [f"{key} there is {there.get(key)}, here {here[key]}" for key in here if there.get(key) != here[key]]
    if differing:
        raise RunDirError(f"{path.parent}: holds another sweep: {'; '.join(differing)}. Choose another --run-dir")


def _facts(sweep: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for a sweep to go on in a directory."""
    return {"settings": sweep.get("settings"), **sweep["execution"]}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise RunDirError(f"{path.parent}: not a run directory: it has no {path.name}") from error
    except ValueError as error:
        raise RunDirError(f"{path}: not valid JSON: {error}") from error
    except OSError as error:
        raise RunDirError(f"{path}: cannot be read: {error.strerror}") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(content, dict) or found != SCHEMA or not isinstance(content.get("execution"), dict):
        raise RunDirError(f"{path}: schema {found!r}, this version reads {SCHEMA!r}")
    return content
