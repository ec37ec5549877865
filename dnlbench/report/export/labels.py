"""Names by which the profiles of one export are told apart, and names of folders that stay where they belong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dnlbench.profiles import Profile

LONGEST_FOLDER = 120
"""Characters of a folder's name: file systems take 255 bytes, and there may be a number behind it."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A profile with its name in an export."""

    label: str
    profile: Profile


def labelled(profiles: Mapping[Path, Profile]) -> tuple[Labelled, ...]:
    """Each profile by the name of its file without the ending, or by the path as it was given where two files share a name."""
    stems = Counter(path.stem for path in profiles)
    return tuple(
        Labelled(label=path.stem if stems[path.stem] == 1 else path.as_posix(), profile=profile)
        for path, profile in profiles.items()
    )


class FolderNames:
    """Gives out names of folders below one folder, each once, also where upper and lower case are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """The name that was wanted, as far as any file system has it.

        Everything but letters and digits of ASCII, dots, dashes and underscores becomes an underscore, and so does a dot at
        the beginning: no name leads to another folder, or hides. Where that makes two names equal, the second ends in ``-2``.
        """
        name = re.sub(r"[^A-Za-z0-9._-]", "_", wanted)[:LONGEST_FOLDER] or "_"
        name = re.sub(r"^\.", "_", name)
        found, number = name, 1
        while found.casefold() in self._taken:
            number += 1
            found = f"{name}-{number}"
        self._taken.add(found.casefold())
        return found
