"""Lists of profiles: their metadata, without the measurements of their runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dnlbench.errors import ConfigurationError, ProfileError
from dnlbench.files import read_regular
from dnlbench.profiles.files import MOST_BYTES, parse_as_written, read_profile_file
from dnlbench.profiles.model import ProfileMetadata, Record, RunMetadata
from dnlbench.studies import STUDIES


class ListedProfile(ProfileMetadata):
    """The part of a profile that lists show."""

    runs: tuple[RunMetadata, ...]
    summary: Record
    """Read without its content, as proof that the file is complete."""

    @property
    def ok(self) -> int:
        return sum(run.status == "ok" for run in self.runs)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices of the runs, in their order."""
        return tuple(dict.fromkeys(run.device_name or run.device or "" for run in self.runs if run.device))

    @property
    def nodes(self) -> int:
        """Number of cluster machines; 0 for a sweep on one machine."""
        return len({run.node for run in self.runs if run.node})


def list_profiles(folder: Path) -> Iterator[tuple[Path, ListedProfile | ProfileError]]:
    """Yield every JSON file of a folder, by name, as a profile or as the error of reading it; see `read_listed`."""
    for path in sorted(folder.glob("*.json")):
        try:
            yield path, read_listed(path)
        except ProfileError as error:
            yield path, error
        except ConfigurationError as error:  # the profile's study is a part of a package that cannot be imported
            yield path, ProfileError(f"{path}: {error}")


def read_listed(path: Path) -> ListedProfile:
    """Read the metadata of a profile, in a fifth of the time of reading all of it.

    Truncated or overwritten files are detected, since the entire file must be valid JSON. Unknown schemas and studies and
    invalid metadata are detected too. Epochs, measurements and the summary are not checked, so a file may be listed that
    `read_profile_file` refuses.

    Raises:
        ProfileError: as `read_profile_file`, which reads all files with an unusual layout.
    """
    try:
        profile = parse_as_written(ListedProfile, read_regular(path, MOST_BYTES))
    except OSError:
        profile = None
    if profile is not None and profile.study in STUDIES:
        return profile
    return ListedProfile.model_validate_json(read_profile_file(path).to_json())
