"""Find the Python interpreter of an environment, check its dnlbench and isolate it from this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dnlbench.engine.launch import PROGRAM
from dnlbench.errors import ConfigurationError

START_TIMEOUT_S = 120.0
"""Maximum time to import the command line of dnlbench, from a cold disk, in seconds."""
_OURS = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
"""Environment variables with which another Python would import the packages of this environment."""
_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""The variable of `dnlbench.cli.step_summary`. Only the main command writes a summary, not its engines."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The Python interpreter of an environment."""

    path: str
    """Absolute path. The interpreter of a virtual environment is a link, which must not be resolved."""

    @property
    def is_this_one(self) -> bool:
        """Return True if this is the running interpreter, by any of its names."""
        path, here = Path(self.path), Path(_here())
        # The folder determines the environment: links of several environments lead to the same Python.
        return path == here or (path.exists() and path.parent.samefile(here.parent) and path.samefile(here))

    @property
    def environment(self) -> Mapping[str, str]:
        left_out = (_SUMMARY_VARIABLE, *(() if self.is_this_one else _OURS))
        return {name: value for name, value in os.environ.items() if name not in left_out}

    def check(self) -> None:
        """Check that the environment has a dnlbench that supports paired benchmarks.

        Raises:
            ConfigurationError: if it does not.
        """
        if self.is_this_one:
            return
        command = [self.path, *PROGRAM, "--help"]
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_TIMEOUT_S,
            )
        except OSError as error:
            raise ConfigurationError(
                f"--against {self.path}: cannot be started: {error.strerror}. Check the path"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(f"--against {self.path}: did not start within {START_TIMEOUT_S:.0f} s") from error
        if done.returncode != 0:
            raise ConfigurationError(f"--against {self.path}: {_problem(done.stderr, done.returncode)}")


def find_interpreter(name: str | None) -> Interpreter:
    """Return the interpreter with this path, or with this name in ``PATH``. None means the running interpreter.

    Raises:
        ConfigurationError: if there is no such interpreter.
    """
    if name is None:
        return Interpreter(path=_here())
    if Path(name).is_dir():
        raise ConfigurationError(
            f"--against {name}: is a folder. Name the interpreter in it, such as {name}/bin/python"
        )
    path = shutil.which(os.path.expanduser(name))  # noqa: PTH111 -- a Path drops the "./" that keeps PATH out of it
    if path is None:
        raise ConfigurationError(
            f"--against {name}: no such interpreter, or not executable. Name the Python of the other "
            "environment, such as ../main/.venv/bin/python"
        )
    return Interpreter(path=os.path.abspath(path))  # noqa: PTH100 -- Path.absolute keeps ".."


def _here() -> str:
    return os.path.abspath(sys.executable)  # noqa: PTH100 -- as in find_interpreter


def _problem(stderr: str, code: int) -> str:
    lines = stderr.strip().splitlines()
    if lines and lines[-1].endswith("No module named dnlbench.engine"):
        return "the dnlbench of this environment is too old for paired benchmarks. Install a newer version there"
    if lines and "No module named 'dnlbench'" in lines[-1]:
        return "dnlbench is not installed in this environment. Install it there"
    return f"the dnlbench of this environment does not start: {lines[-1] if lines else f'exit code {code}'}"
