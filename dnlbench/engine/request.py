"""The request for a sweep: a spec and how to run it, kept as ``request.json`` in the run directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dnlbench.errors import ConfigurationError, EngineError, RunDirError
from dnlbench.files import read_regular, write_atomically
from dnlbench.plan import Plan
from dnlbench.spec import SpecText
from dnlbench.store import RunDir
from dnlbench.store.documents import damaged, first_problem, read_document

SCHEMA = "dnlbench.request/1"
ExecutorName = Literal["local", "inline", "ray"]
MOST = 4096
"""Jobs, threads or runs of a pack: more than machines have cores. A larger number is a slip, and each job is a process."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RunRequest:
    """A spec and how to run it. What is None is left to the engine."""

    spec: SpecText
    out: Path | None = None
    """The profile to write; None: a new file below ``profiles/``."""
    run_dir: Path | None = None
    """None: one folder for each spec and way to run it, below ``.dnlbench/runs/``."""
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    pack: int | None = None
    """The maximum number of runs of a point that train together."""
    executor: ExecutorName = "local"
    ray_address: str | None = None
    """Address of a running cluster; None: start a private one on this machine."""
    ray_insecure: bool = False
    """Accept a cluster that does not ask for a token."""
    checkpoint_s: float = 30.0
    """The maximum time between checkpoints, in seconds; there also is one after each epoch."""
    resume: bool = False
    """Insist that there is a sweep to resume."""
    keep_weights: bool = False
    """Keep the final weights in a folder beside the profile."""
    session: str | None = None
    """Name of a paired benchmark: each run waits for a command to resume it."""

    def __post_init__(self) -> None:
        """Refuse numbers that can only be a slip.

        Raises:
            ConfigurationError: for such a number.
        """
        for option in ("jobs", "threads", "pack"):
            number = getattr(self, option)
            if number is not None and not 1 <= number <= MOST:
                raise ConfigurationError(f"--{option} {number}: choose a number from 1 to {MOST}")

    @cached_property
    def plan(self) -> Plan:
        """The runs that the spec asks for.

        Raises:
            SpecError: if the spec is not valid.
        """
        return Plan(self.spec.parse())


_JSON = TypeAdapter(RunRequest)


def write_request(request: RunRequest, run_dir: RunDir) -> None:
    """Write ``request.json``. What has its default is left out, so that an older dnlbench can read what it knows."""
    content = _JSON.dump_python(request, mode="json", exclude_defaults=True, exclude={"run_dir"})
    text = json.dumps({"schema": SCHEMA, **content}, indent=1)  # in ASCII: names of files need not be Unicode
    run_dir.root.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir.request_path, text.encode())


def read_request(run_dir: RunDir) -> RunRequest:
    """Read the request of a run directory; it is to be run in that directory.

    Raises:
        RunDirError: if there is none, or one that this version cannot read.
    """
    path = run_dir.request_path
    try:
        content = read_document(path, SCHEMA)
    except FileNotFoundError as error:
        raise RunDirError(
            f"{run_dir.root}: holds no {path.name} to resume. Resume with the same dnlbench run command and --resume"
        ) from error
    del content["schema"]
    try:
        return _JSON.validate_python({**content, "run_dir": run_dir.root})
    except ValidationError as error:
        if error.errors()[0]["type"] == "unexpected_keyword_argument":
            key = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunDirError(f'{path}: "{key}" is not a key that this version of dnlbench knows') from error
        raise damaged(path, first_problem(error)) from error


def resumed(request: RunRequest) -> RunRequest:
    """A request to resume a run directory, with what it leaves open as it was asked for there."""
    if not request.resume or request.run_dir is None or not RunDir(request.run_dir).request_path.exists():
        return request
    earlier = read_request(RunDir(request.run_dir))
    by_default = {"device": "auto", "jobs": None, "threads": None, "pack": None}
    is_open = [name for name, value in by_default.items() if getattr(request, name) == value]
    return replace(request, **{name: getattr(earlier, name) for name in is_open})


@contextmanager
def kept_if_refused(run_dir: RunDir) -> Iterator[None]:
    """Put an earlier request and plan back if one that is to take their place is refused."""
    paths = [path for path in (run_dir.request_path, run_dir.sweep_path) if path.exists()]
    earlier = {path: read_regular(path) for path in paths}
    try:
        yield
    except (ConfigurationError, EngineError):
        for path, content in earlier.items():
            write_atomically(path, content)
        raise
