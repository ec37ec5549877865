"""The request for a sweep: a spec and how to run it, stored as ``request.json`` in the run directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dnlbench.errors import ConfigurationError, EngineError, RunDirError
from dnlbench.files import read_regular, write_atomically
from dnlbench.plan import Plan
from dnlbench.spec import SpecText
from dnlbench.store import RunDir
from dnlbench.store.documents import damaged, first_problem, read_document

if TYPE_CHECKING:
    from dnlbench.engine.executors import ExecutorType

SCHEMA = "dnlbench.request/1"
MOST = 4096
"""Maximum number of jobs, threads or runs in a pack: more than machines have cores. Each job is a process."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RunRequest:
    """A spec and how to run it. The engine chooses the options that are None."""

    spec: SpecText
    out: Path | None = None
    """File for the profile; None: a new file in ``profiles/``."""
    run_dir: Path | None = None
    """The run directory; None: a folder in ``.dnlbench/runs/`` for each spec and placement."""
    device: str = "auto"
    jobs: int | None = None
    threads: int | None = None
    pack: int | None = None
    """Maximum number of batched seeds."""
    executor: str = "local"
    """A name of `dnlbench.engine.executors.EXECUTORS`, or ``module:object``."""
    ray_address: str | None = None
    """Address of a running cluster; None: start a private one on this machine."""
    ray_insecure: bool = False
    """Accept a cluster that does not ask for a token."""
    checkpoint_s: float = 30.0
    """Maximum time between checkpoints, in seconds. Each epoch also ends with a checkpoint."""
    resume: bool = False
    """Fail if there is no sweep to resume."""
    keep_weights: bool = False
    """Save the final weights in a folder beside the profile."""
    session: str | None = None
    """Name of a paired benchmark, whose runs start paused."""

    def __post_init__(self) -> None:
        """Check the numbers and the executor.

        Raises:
            ConfigurationError: if a number is not between 1 and ``MOST``, or if there is no such executor.
        """
        for option in ("jobs", "threads", "pack"):
            number = getattr(self, option)
            if number is not None and not 1 <= number <= MOST:
                raise ConfigurationError(f"--{option} {number}: choose a number from 1 to {MOST}")
        _ = self.executor_type

    @cached_property
    def executor_type(self) -> ExecutorType:
        """The declaration of the executor."""
        from dnlbench.engine.executors import EXECUTORS  # which place requests

        return EXECUTORS.choose(self.executor, "--executor")

    @cached_property
    def plan(self) -> Plan:
        """The runs of the spec.

        Raises:
            SpecError: if the spec is not valid.
        """
        return Plan(self.spec.parse())


_JSON = TypeAdapter(RunRequest)


def pack_size(text: str) -> int | None:
    """Parse the value of ``--pack``. None means ``auto``.

    Raises:
        ConfigurationError: for any other text than a number, ``auto`` or ``off``.
    """
    named = {"auto": None, "off": 1}
    if text in named:
        return named[text]
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST:
        return int(text)
    raise ConfigurationError(f"--pack {text}: write a whole number from 1 to {MOST}, auto or off")


def write_request(request: RunRequest, run_dir: RunDir) -> None:
    """Write ``request.json`` without default values, so that older versions can read it."""
    content = _JSON.dump_python(request, mode="json", exclude_defaults=True, exclude={"run_dir"})
    text = json.dumps({"schema": SCHEMA, **content}, indent=1)  # in ASCII: file names need not be valid Unicode
    run_dir.root.mkdir(parents=True, exist_ok=True)
    write_atomically(run_dir.request_path, text.encode())


def read_request(run_dir: RunDir) -> RunRequest:
    """Read the request of a run directory, to be run in that directory.

    Raises:
        RunDirError: if there is no request, or this version cannot read it.
    """
    path = run_dir.request_path
    try:
        content = read_document(path, SCHEMA)
    except FileNotFoundError as error:
        raise RunDirError(
            f"{run_dir.root}: no {path.name} found. To resume, run the same dnlbench run command with --resume"
        ) from error
    del content["schema"]
    try:
        return _JSON.validate_python({**content, "run_dir": run_dir.root})
    except ConfigurationError as error:
        raise RunDirError(f"{path}: {error}") from error
    except ValidationError as error:
        if error.errors()[0]["type"] == "unexpected_keyword_argument":
            key = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunDirError(f'{path}: this version of dnlbench does not support the key "{key}"') from error
        raise damaged(path, first_problem(error)) from error


def resumed(request: RunRequest) -> RunRequest:
    """Fill in the open options of a request with ``resume`` from the request stored in its run directory."""
    if not request.resume or request.run_dir is None or not RunDir(request.run_dir).request_path.exists():
        return request
    earlier = read_request(RunDir(request.run_dir))
    by_default = {"device": "auto", "jobs": None, "threads": None, "pack": None}
    is_open = [name for name, value in by_default.items() if getattr(request, name) == value]
    return replace(request, **{name: getattr(earlier, name) for name in is_open})


@contextmanager
def restored_on_error(run_dir: RunDir) -> Iterator[None]:
    """Restore the earlier request and plan if the new ones are rejected."""
    paths = [path for path in (run_dir.request_path, run_dir.sweep_path) if path.exists()]
    earlier = {path: read_regular(path) for path in paths}
    try:
        yield
    except (ConfigurationError, EngineError):
        for path, content in earlier.items():
            write_atomically(path, content)
        raise
