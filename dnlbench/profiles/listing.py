"""Lists of profiles: what each is, without the figures of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dnlbench.errors import ProfileError
from dnlbench.files import read_regular
from dnlbench.profiles.files import MOST_BYTES, parse_as_written, read_profile_file
from dnlbench.profiles.model import ProfileMetadata, Record, RunMetadata
from dnlbench.studies import STUDIES


class ListedProfile(ProfileMetadata):
    """A profile as lists show it."""

    runs: tuple[RunMetadata, ...]
    summary: Record
    """Read as the place where a whole profile ends, without what is in it."""

    @property
    def ok(self) -> int:
        return sum(run.status == "ok" for run in self.runs)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices that runs were started on, in the order of the runs."""
        return tuple(dict.fromkeys(run.device_name or run.device or "" for run in self.runs if run.device))

    @property
    def nodes(self) -> int:
        """Machines of a cluster that runs were on; 0 for a sweep on one machine."""
        return len({run.node for run in self.runs if run.node})


def list_profiles(folder: Path) -> Iterator[tuple[Path, ListedProfile | ProfileError]]:
    """Every JSON file of a folder, by name, as a profile or as the reason why it is none; see `read_listed`."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield path, read_listed(path)
        except ProfileError as error:
            yield path, error


def read_listed(path: Path) -> ListedProfile:
    """What a list tells of a profile, in a fifth of the time that reading all of it takes.

    A file that is cut off or overwritten anywhere is found, since all of it has to be JSON that ends where it should; so are
    a schema or study that this version does not know, and facts that are absent or of the wrong form. What nobody looks at
    in a list is not checked: epochs, measurements and other figures of the runs, and the summary. A file may thus be listed
    that `read_profile_file` refuses because somebody wrote a word in the place of a figure.

    Raises:
        ProfileError: as `read_profile_file` does, which has the last word on all that is written otherwise than ours are.
    """
    try:
        profile = parse_as_written(ListedProfile, read_regular(path, MOST_BYTES))
    except OSError:
        profile = None
    if profile is not None and profile.study in STUDIES:
        return profile
    return ListedProfile.model_validate_json(read_profile_file(path).to_json())
