"""Lists are read in a lighter way than profiles; both have to tell the same."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnlbench.errors import ProfileError
from dnlbench.profiles import ListedProfile, Profile, list_profiles, read_listed, read_profile, save_profile

MakeProfile = Callable[..., Profile]
TESTS = Path(__file__).parent.parent
FACTS = ("run_id", "network", "depth", "seed", "status", "device", "device_name")
LOSSES = {("densenet", 2): [0.3, 0.4], ("plain", 4): [0.2]}
FIGURES = re.compile(rf": (summary\.|runs\.\d+\.(?!({'|'.join(FACTS)})\b))")
"""In a message: a place that lists do not look at."""


def facts(profile: Profile | ListedProfile) -> dict[str, Any]:
    """All that lists may tell, taken from the fields of either."""
    head = profile.model_dump(exclude={"runs", "summary"})
    return head | {"runs": [[getattr(run, field) for field in FACTS] for run in profile.runs]}


def outcome(read: Callable[[Path], Profile | ListedProfile], path: Path) -> dict[str, Any] | str:
    """The facts, or the reason why there are none."""
    try:
        return facts(read(path))
    except ProfileError as error:
        return str(error)


@pytest.fixture
def partial(make_profile: MakeProfile) -> Profile:
    """One run ended well, one diverged and one never started."""
    profile = make_profile(LOSSES, state="partial")
    first, second, third = profile.runs
    skipped = {"device": None, "device_name": None, "status": "skipped", "epochs": (), "parameters": None}
    runs = (first, second.model_copy(update={"status": "diverged"}), third.model_copy(update=skipped))
    return profile.model_copy(update={"runs": runs})


def test_it_tells_of_a_profile_what_the_whole_of_it_does(tmp_path: Path, partial: Profile) -> None:
    paths = [TESTS / "golden" / "profile-1.json", *(TESTS.parent / "profiles").glob("*.json")]
    paths.append(save_profile(partial, tmp_path / "ours.json"))
    content = json.loads(partial.to_json())
    for name, text in {
        "flat": json.dumps(content).encode(),
        "reversed": json.dumps(dict(reversed(content.items()))).encode(),
        "byte order mark": json.dumps(content).encode("utf-8-sig"),
        "other encoding": json.dumps(content).encode("utf-16"),
        "later keys": json.dumps({**content, "new": [1]}).encode(),
    }.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_bytes(text)
    for path in paths:
        assert outcome(read_listed, path) == outcome(read_profile, path) == facts(read_profile(path))
    assert (read_listed(paths[2]).ok, read_listed(paths[2]).devices) == (1, ("A CPU",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b'{"schema": "other/1"}',
        b'{"schema": "dnlbench.profile/2", "study": 1}',
        b'{"schema": "dnlbench.profile/1"}',
        b'{"schema": "dnlbench.profile/1", "study": "training"}',
        b'{"schema": "dnlbench.profile/1", "spec": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"[" * 100_000,
        b"1" * 5000,
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_profile_is_so_for_the_same_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert isinstance(outcome(read_listed, path), str)
    assert outcome(read_listed, path) == outcome(read_profile, path)


def test_what_cannot_be_opened_is_listed_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to("absent.json")
    reasons = {path.name: str(error) for path, error in list_profiles(tmp_path)}
    assert reasons.keys() == {"folder.json", "link.json"}
    assert all("cannot be read" in reason for reason in reasons.values())


@pytest.mark.parametrize(
    "change",
    [
        {"study": "other"},
        {"created": "yesterday"},
        {"state": "good"},
        {"machine": {}},
        {"data": None},
        {"summary": None},
        {"runs": {}},
        {"runs": [{}]},
    ],
    ids=str,
)
def test_wrong_facts_are_refused_for_the_same_reason(tmp_path: Path, partial: Profile, change: dict[str, Any]) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**json.loads(partial.to_json()), **change}, indent=1))
    assert isinstance(outcome(read_listed, path), str)
    assert outcome(read_listed, path) == outcome(read_profile, path)


def test_files_that_are_cut_off_anywhere_are_found(tmp_path: Path, partial: Profile) -> None:
    content, path = partial.to_json(), tmp_path / "x.json"
    for length in range(0, len(content) - 2, 61):
        path.write_bytes(content[:length])
        assert "not valid JSON" in str(outcome(read_listed, path))
        assert outcome(read_listed, path) == outcome(read_profile, path)


def test_whatever_is_damaged_lists_and_profiles_part_over_figures_alone(tmp_path: Path, partial: Profile) -> None:
    draw, content, path = random.Random(7), partial.to_json(), tmp_path / "x.json"
    seen: Counter[str] = Counter()
    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 8))):
            damaged[draw.randrange(len(damaged))] = draw.choice(b'"0x}],:.-N ')
        path.write_bytes(damaged)
        listed, whole = outcome(read_listed, path), outcome(read_profile, path)
        if listed != whole:
            assert isinstance(listed, dict)
            assert FIGURES.search(str(whole)), whole
        seen[f"{type(listed).__name__} {type(whole).__name__}"] += 1
    assert seen.keys() == {"dict dict", "str str", "dict str"}


def test_a_word_in_the_place_of_a_figure_is_not_noticed(tmp_path: Path, partial: Profile) -> None:
    content = json.loads(partial.to_json())
    content["runs"][0]["epochs"][0]["train_loss"] = "great"
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content, indent=1))
    assert outcome(read_listed, path) == facts(partial)
    assert "runs.0.epochs.0.train_loss = great" in str(outcome(read_profile, path))


def test_a_folder_is_listed_with_what_is_no_profile(tmp_path: Path, make_profile: MakeProfile) -> None:
    save_profile(make_profile(LOSSES), tmp_path / "b.json")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "c.json").write_text("[" * 100_000)
    (tmp_path / "d.json").write_text("1" * 5000)
    (tmp_path / "notes.txt").write_text("")
    found = {path.name: type(content) for path, content in list_profiles(tmp_path)}
    assert found == {"a.json": ProfileError, "b.json": ListedProfile, "c.json": ProfileError, "d.json": ProfileError}


def test_listing_does_without_scipy_and_numpy(tmp_path: Path, make_profile: MakeProfile) -> None:
    save_profile(make_profile(LOSSES), tmp_path / "profiles" / "a.json")
    (tmp_path / "profiles" / "b.json").write_text("{}")
    code = (
        "import sys\nfrom dnlbench.cli.app import main\nsys.argv = ['dnlbench', 'profiles', 'list']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numpy', 'scipy', 'torch', 'textual', 'pyarrow', 'tensorboard'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 profiles in profiles" in done.stdout
    assert "not readable" in done.stdout
