"""The reference profiles of this repository are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnlbench.profiles import check_profile, read_profile

FOLDER = Path(__file__).parent.parent / "profiles"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_a_reference_profile_is_complete_and_valid(path: Path) -> None:
    profile = read_profile(path)
    assert check_profile(profile) == []
    assert profile.state == "complete"
    assert {run.status for run in profile.runs} == {"ok"}
