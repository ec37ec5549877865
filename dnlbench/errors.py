"""The errors that dnlbench raises on purpose. Any other exception is a bug.

::

    DnlbenchError
    ├── ConfigurationError        invalid options, or options that do not apply     exit 2
    │   ├── SpecError             an invalid spec, preset or --set override
    │   │   └── NetworkError      a custom network that does not work
    │   ├── DataError             a dataset that is missing, unreadable or unusable
    │   ├── DeviceError           a requested device that does not exist
    │   ├── ProfileError          a file that is not a profile this version reads
    │   └── RunDirError           a run directory that cannot be used
    ├── NotComparableError        two profiles without a common quantity            exit 5
    ├── RunDirLostError           a run directory that was removed while in use     exit 1
    └── EngineError               an internal failure: a worker that did not start  exit 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class DnlbenchError(Exception):
    """The base class of errors whose message is written for the user."""

    exit_code = 1


class ConfigurationError(DnlbenchError):
    """Invalid options, or options that do not apply. Nothing was started."""

    exit_code = 2


class SpecError(ConfigurationError):
    """An invalid spec, preset or override."""

    def __init__(self, message: str, problems: Sequence[tuple[tuple[str, ...], str]] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        """Key and message of each invalid value; empty if the spec cannot be parsed."""


class NetworkError(SpecError):
    """A custom network that cannot be imported, built or trained. The log of its process contains the traceback."""


class DataError(ConfigurationError):
    """A dataset that is missing, unreadable or unusable for training."""


class DeviceError(ConfigurationError):
    """A requested device that does not exist."""


class ProfileError(ConfigurationError):
    """A file that is not a profile, or one that this version cannot read."""


class RunDirError(ConfigurationError):
    """A run directory that is in use, damaged or belongs to another sweep."""


class NotComparableError(DnlbenchError):
    """Two profiles without a common quantity, network and depth."""

    exit_code = 5


class RunDirLostError(DnlbenchError):
    """The run directory of a running sweep was removed, renamed or taken over by another engine."""


class EngineError(DnlbenchError):
    """An internal failure, such as a worker that did not become ready."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """Exit code of an engine in a separate process; 1 for other failures."""


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
    """Return the error that another process reported by the name of its type. Unknown types become ``EngineError``."""
    known = _BY_NAME.get(type_name)
    return known(message) if known else EngineError(f"{type_name}: {message}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the most similar known word; empty if no known word is similar."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
