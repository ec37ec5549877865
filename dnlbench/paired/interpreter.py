"""The Python of a side: found, asked whether it can take part, and kept from importing what is not its own."""

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

ANSWER_S = 120.0
"""How long an interpreter may take to import dnlbench's command line, from a cold disk."""
_OURS = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
"""What tells this environment's Python where its packages are, and would have another one import them."""
_OUR_PAGE = "GITHUB_STEP_SUMMARY"
"""Where `dnlbench.cli.step_summary` writes. Only the command that was asked does: a side's page is half of what it tells."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python with packages of its own."""

    path: str
    """Absolute. A virtual environment's is a link that has to be called by its own name, and is never resolved."""

    @property
    def is_this_one(self) -> bool:
        """Whether it is the one that runs now, by any of its names; its environment then is its own."""
        path, here = Path(self.path), Path(_here())
        # The folder decides which environment a link belongs to: many of them lead to one Python.
        return path == here or (path.exists() and path.parent.samefile(here.parent) and path.samefile(here))

    @property
    def environment(self) -> Mapping[str, str]:
        left_out = (_OUR_PAGE, *(() if self.is_this_one else _OURS))
        return {name: value for name, value in os.environ.items() if name not in left_out}

    def check(self) -> None:
        """Makes sure that it has a dnlbench that can take turns.

        Raises:
            ConfigurationError: if it has not.
        """
        if self.is_this_one:
            return
        asked = [self.path, *PROGRAM, "--help"]
        try:
            done = subprocess.run(
                asked, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S
            )
        except OSError as error:
            raise ConfigurationError(f"--against {self.path}: cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(f"--against {self.path}: has not answered for {ANSWER_S:.0f} s") from error
        if done.returncode != 0:
            raise ConfigurationError(f"--against {self.path}: {_problem(done.stderr, done.returncode)}")


def find_interpreter(name: str | None) -> Interpreter:
    """The interpreter of that path, or of that name in ``PATH``; for None the one that runs now.

    Raises:
        ConfigurationError: if there is none.
    """
    if name is None:
        return Interpreter(path=_here())
    if Path(name).is_dir():
        raise ConfigurationError(
            f"--against {name}: is a folder; name the interpreter in it, such as {name}/bin/python"
        )
    found = shutil.which(os.path.expanduser(name))  # noqa: PTH111 -- a Path drops the "./" that keeps PATH out of it
    if found is None:
        raise ConfigurationError(
            f"--against {name}: there is no such interpreter, or it may not be executed; name the Python of the other "
            "environment, such as ../main/.venv/bin/python"
        )
    return Interpreter(path=os.path.abspath(found))  # noqa: PTH100 -- Path.absolute keeps "..", which this takes out


def _here() -> str:
    return os.path.abspath(sys.executable)  # noqa: PTH100 -- as in find_interpreter


def _problem(said: str, code: int) -> str:
    lines = said.strip().splitlines()
    if lines and lines[-1].endswith("No module named dnlbench.engine"):
        return "its dnlbench is too old to take turns: it has no dnlbench.engine. Install a newer one there"
    if lines and "No module named 'dnlbench'" in lines[-1]:
        return "has no dnlbench: install it in that environment"
    return f"its dnlbench does not start: {lines[-1] if lines else f'exit code {code}'}"
