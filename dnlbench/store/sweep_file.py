"""``sweep.json``: the plan of a run directory, and its execution settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dnlbench.errors import ConfigurationError, RunDirError
from dnlbench.files import read_regular, write_atomically
from dnlbench.machine import numeric_environment, package_versions, source_hash, torch_version
from dnlbench.plan import Plan
from dnlbench.store.documents import damaged, first_problem, read_document
from dnlbench.studies import STUDIES

SCHEMA = "dnlbench.sweep/2"
ANY = "any"
"""Value of ``machine`` for a Ray cluster, where each run records its own machine."""
LABELS = {
    "device_kind": "the device",
    "threads": "the number of threads",
    "pack_size": "the pack size",
    "torch": "torch",
}


class Execution(BaseModel):
    """Execution settings that results depend on. Results are bit-equal if these are equal."""

    model_config = ConfigDict(frozen=True)

    device_kind: str
    threads: int
    pack_size: int
    torch: str
    machine: str
    """Fingerprint of the hardware."""
    source: str
    packages: dict[str, str] = {}
    """Versions of the other packages that compute results."""
    environment: dict[str, str] = {}
    """Environment variables that affect the computations of torch."""

    @classmethod
    def here(cls, *, device_kind: str, threads: int, pack_size: int, machine: str) -> Execution:
        return cls(
            device_kind=device_kind,
            threads=threads,
            pack_size=pack_size,
            torch=torch_version(),
            machine=machine,
            source=source_hash(),
            packages=package_versions(),
            environment=numeric_environment(),
        )

    def software_differences(self) -> list[str]:
        """Return how the software of this process differs from the recorded one."""
        same = self.model_dump(include={"device_kind", "threads", "pack_size", "machine"})
        return list(self.differences(Execution.here(**same)))

    def differences(self, here: Execution) -> Iterator[str]:
        """Describe differences other than the machine: ``torch is 2.11.0 there and 2.12.0 here``."""
        for field, label in LABELS.items():
            yield from _differences({label: getattr(self, field)}, {label: getattr(here, field)})
        yield from _differences(self.packages, here.packages)
        yield from _differences(self.environment, here.environment)
        if self.source != here.source:
            yield "dnlbench's own code is not the same"


def write_sweep(path: Path, plan: Plan, execution: Execution) -> None:
    """Write the plan in place of an existing one. Runs that only the earlier plan contains stay where they are."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": plan.settings_hash,
        "execution": execution.model_dump(),
        "study": plan.spec.study,
        "spec": plan.spec.model_dump(mode="json"),
        "runs": [run.run_id for run in plan.runs],
        "points": [[run.point.series, run.point.depth, run.seed] for run in plan.runs],
    }
    write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False).encode())


def read_sweep(path: Path) -> Plan:
    """Read the plan of a run directory.

    Raises:
        RunDirError: if there is none, or if this version cannot read it.
    """
    content = _read(path)
    if str(content.get("study")) not in STUDIES:
        raise damaged(path, f'"study" must be one of {", ".join(STUDIES)}')
    try:
        return Plan(STUDIES[content["study"]].spec.from_saved(content.get("spec")))
    except ConfigurationError as error:  # the study is a part of a package that cannot be imported
        raise RunDirError(f"{path}: {error}") from error
    except ValidationError as error:
        raise RunDirError(
            f"{path} is damaged or from another version of dnlbench: {first_problem(error, 'spec')}. Choose another --run-dir."
        ) from error


def read_run_ids(path: Path) -> dict[tuple[str, int, int], str]:
    """Read run ids by network with its settings, depth and seed, also for specs that this version cannot read.

    They are empty if there is no file.

    Raises:
        RunDirError: if the file is damaged.
    """
    try:
        content = json.loads(read_regular(path))
        points = [(str(network), int(depth), int(seed)) for network, depth, seed in content["points"]]
        return dict(zip(points, map(str, content["runs"]), strict=True))
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunDirError(f"{path}: does not tell which run is of which point: {error}") from error


def read_execution(path: Path) -> Execution:
    """Read the execution settings of a run directory.

    Raises:
        RunDirError: if there are none, or if this version cannot read them.
    """
    try:
        return Execution.model_validate(_read(path)["execution"])
    except ValidationError as error:
        raise damaged(path, first_problem(error, "execution")) from error


def settings_differences(there: Plan, here: Plan) -> list[str]:
    """Return the differences that prevent two sweeps from sharing their runs: ``train.lr is 0.01 there and 0.5 here``.

    Sweeps can share runs if they differ only in the name, the axes (with those of grids) and the location of the data, and
    in the number of epochs if a shorter run is the beginning of a longer one.
    """
    if there.spec.study != here.spec.study:
        return list(_differences({"study": there.spec.study}, {"study": here.spec.study}))
    axes = there.spec.sweep.grid.keys() & here.spec.sweep.grid.keys()
    theirs, ours = (
        {key: value for key, value in _flat(plan.spec.run_settings()) if key not in axes} for plan in (there, here)
    )
    return list(_differences(theirs, ours))


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*there, *here]):
        ours, theirs = here.get(key), there.get(key)
        if ours != theirs:
            yield f"{key} is {_text(theirs)} there and {_text(ours)} here"


def _text(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_document(path, SCHEMA)
    except FileNotFoundError as error:
        problem = f"not a run directory: it has no {path.name}" if path.parent.is_dir() else "no such run directory"
        raise RunDirError(f"{path.parent}: {problem}") from error
    if not isinstance(content.get("execution"), dict):
        raise damaged(path, '"execution" must be a table')
    return content
