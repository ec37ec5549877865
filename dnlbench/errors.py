"""The errors that dnlbench raises on purpose; anything else is a bug.

::

    DnlbenchError
    ├── ConfigurationError        what was asked for cannot be done as asked        exit 2
    │   ├── SpecError             a sweep spec, a preset or a --set override
    │   │   └── NetworkError      a network of the user's own that does not work
    │   ├── DataError             a dataset that is absent, unreadable or unusable
    │   ├── DeviceError           a device that is not there
    │   ├── ProfileError          a file that is not a profile this version reads
    │   └── RunDirError           a run directory that cannot be used
    ├── NotComparableError        two profiles that share nothing to compare        exit 5
    ├── RunDirLostError           a run directory that was removed while in use     exit 1
    └── EngineError               the machinery failed: a worker that never started exit 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class DnlbenchError(Exception):
    """Base of every error whose message is written for the user."""

    exit_code = 1


class ConfigurationError(DnlbenchError):
    """What was asked for cannot be done as asked; nothing was started."""

    exit_code = 2


class SpecError(ConfigurationError):
    """A sweep spec, preset or override that is not valid."""

    def __init__(self, message: str, problems: Sequence[tuple[tuple[str, ...], str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        """Key and message of each invalid value; empty where the spec cannot be read at all."""


class NetworkError(SpecError):
    """A network of the user's own that cannot be imported, built or trained; its process's log has the traceback."""


class DataError(ConfigurationError):
    """A dataset that is absent, unreadable or unusable for training."""


class DeviceError(ConfigurationError):
    """A device that was asked for and is not there."""


class ProfileError(ConfigurationError):
    """A file that is not a profile, or one that this version cannot read."""


class RunDirError(ConfigurationError):
    """A run directory that is in use, damaged or belongs to another sweep."""


class NotComparableError(DnlbenchError):
    """Two profiles that have nothing in common that could be compared."""

    exit_code = 5


class RunDirLostError(DnlbenchError):
    """The run directory of a running sweep was removed, renamed or taken over by another engine."""


class EngineError(DnlbenchError):
    """The machinery failed, for example a worker that never became ready."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """Of an engine that was started as a process of its own."""


_BY_NAME: dict[str, type[DnlbenchError]] = {
    error.__name__: error
    for error in (
        SpecError,
        NetworkError,
        DataError,
        DeviceError,
        ProfileError,
        RunDirError,
        NotComparableError,
        EngineError,
    )
}


def rebuild(type_name: str, message: str) -> DnlbenchError:
    """The error that another process reported by its type's name; an ``EngineError`` for a type not listed here."""
    known = _BY_NAME.get(type_name)
    return known(message) if known else EngineError(f"{type_name}: {message}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, to follow a complaint about a word; empty when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
