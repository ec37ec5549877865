from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dnlbench.errors import ProfileError
from dnlbench.events import EngineStarted, Prepared, RunEnded
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, check_profile, list_profiles, read_profile, reduce_run_dir, save_profile
from dnlbench.report.profile import profile_grids
from dnlbench.store import RunDir

MakeProfile = Callable[..., Profile]
GOLDEN = Path(__file__).parent.parent / "golden"
LOSSES = {("densenet", 2): [0.3, 0.1 + 0.2], ("densenet", 4): [0.2, 5e-324]}


def test_a_profile_comes_back_with_every_bit(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)
    assert read_profile(save_profile(profile, tmp_path / "x.json")) == profile


def test_non_finite_numbers_are_strings_in_json_and_come_back(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [math.nan, math.inf]}, status="diverged")
    path = save_profile(profile, tmp_path / "x.json")
    text = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [run["final_train_loss"] for run in text["runs"]] == ["NaN", "Infinity"]
    assert text["summary"]["points"][0]["quantities"] == {}
    back = read_profile(path)
    assert back.runs[0].final_train_loss is not None
    assert math.isnan(back.runs[0].final_train_loss)
    assert back.runs[1].final_train_loss == math.inf


def test_the_contracts_keys_are_there(make_profile: MakeProfile) -> None:
    content = json.loads(make_profile(LOSSES).to_json())
    assert content["schema"] == "dnlbench.profile/2"
    assert content.keys() >= {
        "schema",
        "study",
        "name",
        "state",
        "created",
        "spec",
        "spec_hash",
        "workload_version",
        "code",
        "machine",
        "data",
        "runs",
        "summary",
    }
    assert content["runs"][0].keys() >= {
        "run_id",
        "network",
        "depth",
        "seed",
        "status",
        "device",
        "pack_size",
        "parameters",
        "epochs",
        "final_train_loss",
        "samples_per_s",
        "peak_memory_bytes",
        "attempts",
        "error",
    }
    assert content["runs"][0]["epochs"][0].keys() >= {"epoch", "train_loss", "seconds", "samples_per_s"}
    assert content["code"].keys() >= {"version", "git", "dirty"}
    assert content["machine"].keys() >= {"os", "cpu", "python", "torch", "devices", "fingerprint"}
    assert content["data"].keys() >= {"name", "sha256", "samples"}


def test_profiles_without_a_path_are_named_by_sweep_and_time_and_never_overwrite(
    tmp_path: Path, make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = save_profile(make_profile(LOSSES)), save_profile(make_profile(LOSSES))
    assert first.parent == Path("profiles")
    assert first.name.startswith("made-up-20261120-")
    assert second.name == first.name.replace(".json", "-2.json")


def test_sweeps_that_end_at_the_same_moment_lose_no_profile(
    tmp_path: Path, make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    barrier = threading.Barrier(16)
    profiles = [make_profile({("densenet", depth): [0.5]}) for depth in range(1, 17)]

    def save(profile: Profile) -> Path:
        barrier.wait()
        return save_profile(profile)

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(save, profiles))
    assert [read_profile(path) for path in paths] == profiles
    assert len(list(Path("profiles").iterdir())) == 16


def test_an_old_profile_still_reads() -> None:
    profile = read_profile(GOLDEN / "profile-1.json")
    assert check_profile(profile) == []
    assert [run.status for run in profile.runs] == ["ok", "ok", "diverged", "failed"]


def test_an_old_profile_has_no_estimated_memory() -> None:
    profile = read_profile(GOLDEN / "profile-1.json")
    assert {run.estimated_memory_bytes for run in profile.runs} == {None}
    assert "memory:" not in next(profile_grids(profile)).note


def test_the_older_key_of_the_estimated_memory_is_read(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)
    runs = tuple(run.model_copy(update={"estimated_memory_bytes": 1000}) for run in profile.runs)
    text = profile.model_copy(update={"runs": runs}).to_json()
    assert b'"estimated_memory_bytes": 1000' in text
    path = tmp_path / "old.json"
    path.write_bytes(text.replace(b"estimated_memory_bytes", b"foreseen_memory_bytes"))
    assert read_profile(path).runs == runs


def test_an_old_profile_took_turns_with_no_other(tmp_path: Path, make_profile: MakeProfile) -> None:
    assert read_profile(GOLDEN / "profile-1.json").interleaved is None
    path = save_profile(make_profile(LOSSES, interleaved="main-against-0.5"), tmp_path / "x.json")
    assert read_profile(path).interleaved == "main-against-0.5"


@pytest.mark.parametrize(("factor", "sound"), [(1 + 1e-13, True), (1 + 1e-6, False), (math.inf, False)])
def test_intervals_agree_up_to_rounding(make_profile: MakeProfile, factor: float, sound: bool) -> None:
    """Of versions of SciPy, with which they were once worked out, and without it."""
    profile = make_profile(LOSSES)
    first, *others = profile.summary.points
    interval = first.quantities["final_train_loss"]
    assert interval.high is not None
    other = {**first.quantities, "final_train_loss": interval.model_copy(update={"high": interval.high * factor})}
    points = (first.model_copy(update={"quantities": other}), *others)
    changed = profile.model_copy(update={"summary": profile.summary.model_copy(update={"points": points})})
    assert (check_profile(changed) == []) == sound


def test_the_estimated_memory_is_kept_with_the_measured_one(
    tmp_path: Path, make_plan: Callable[..., Plan], make_profile: MakeProfile
) -> None:
    plan, run_dir = make_plan("sweep.networks=['densenet','own:unet']"), RunDir(tmp_path)
    made_up = make_profile({})
    data = made_up.data.model_copy(update={"input_shape": (3, 20, 20)})
    journal = run_dir.journal_writer()
    for event in (
        EngineStarted(pid=1, machine=made_up.machine, code=made_up.code, slots=("cpu/0",)),
        Prepared(data=data, torch="2.11", device_name="A CPU"),
    ):
        journal.write(event.model_dump_json())
    journal.close()
    events = run_dir.events_writer(plan.runs[0].run_id)
    events.write(RunEnded(run_id=plan.runs[0].run_id, status="diverged", peak_memory_bytes=5000).model_dump_json())
    events.close()

    profile = read_profile(save_profile(reduce_run_dir(run_dir, plan), tmp_path / "x.json"))
    expected = [plan.estimate(run.point, data.input_shape, data.classes).memory_bytes for run in plan.runs]
    assert [run.estimated_memory_bytes for run in profile.runs] == expected
    assert [run.peak_memory_bytes for run in profile.runs] == [5000, *[None] * 7]
    assert expected[0] == expected[1] != plan.estimate(plan.runs[0].point).memory_bytes
    assert expected[4:] == [None] * 4


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seed": 5}, "densenet-L1-s0-00000000: network, depth and seed give densenet-L1-s5"),
        ({"depth": 2}, "densenet-L1-s0-00000000: network, depth and seed give densenet-L2-s0"),
        ({"network": "own:net"}, "densenet-L1-s0-00000000: network, depth and seed give own-net-L1-s0"),
        ({"epochs": (1, 1)}, "densenet-L1-s0-00000000: its epochs are not 1 to 2, in this order"),
        ({"epochs": (0,)}, "densenet-L1-s0-00000000: its epochs are not 1 to 1, in this order"),
    ],
)
def test_runs_are_what_their_ids_say(make_profile: MakeProfile, changes: dict[str, Any], problem: str) -> None:
    profile = make_profile({("densenet", 1): [0.5, 0.25]})
    first, *others = profile.runs
    if "epochs" in changes:
        epochs = tuple(first.epochs[0].model_copy(update={"epoch": number}) for number in changes["epochs"])
        changes = {"epochs": epochs}
    runs = (first.model_copy(update=changes), *others)
    assert problem in check_profile(profile.model_copy(update={"runs": runs}))


def _change(content: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    inner: Any = content
    for part in path:
        inner = inner[int(part) if part.isdigit() else part]
    inner[last] = value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x.json:1: not a profile: not valid JSON"),
        (b'{"schema": "dnlbench.pro', r"x.json:1: not a profile: not valid JSON: Unterminated string"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[1, 2]", "its schema is None, expected 'dnlbench.profile/2'"),
        (b'{"schema": "other/1"}', "its schema is 'other/1'"),
        (b'{"schema": "dnlbench.profile/3"}', r"newer dnlbench: schema dnlbench.profile/3, this version reads up to"),
        (b'{"schema": "dnlbench.profile/1"}', r"x.json: study: Field required"),
        (b'{"schema": ' + b"[" * 100_000, "x.json: not a profile: nested too deeply"),
        (b'{"schema": "dnlbench.profile/1", "spec": ' + b"[" * 500 + b"]" * 500 + b"}", "x.json: "),
        (b'{"depth": ' + b"1" * 5000 + b"}", "x.json: not a profile: it contains an integer of 5000 digits"),
        (b'{"parameters": ' + b"1" * 400 + b"}", "x.json: not a profile: it contains an integer of 400 digits"),
        (b'{"schema": "dnlbench.profile/' + b"1" * 5000 + b'"}', "x.json: not a profile: its schema is 'dnlbench"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_profile_is_refused_with_the_cause(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=message):
        read_profile(path)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("runs.0.depth", "deep", r"runs.0.depth = deep: Input should be a valid integer"),
        ("runs.1.status", "great", "runs.1.status = great: Input should be 'ok', 'failed'"),
        ("created", "yesterday", "created = yesterday"),
        ("summary", None, "summary = None"),
    ],
)
def test_wrong_types_are_refused_with_the_place(
    tmp_path: Path, make_profile: MakeProfile, key: str, value: object, place: str
) -> None:
    content = json.loads(make_profile(LOSSES).to_json())
    _change(content, key, value)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ProfileError, match=place):
        read_profile(path)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("runs.0.depth", -5, "runs.0.depth = -5: "),
        ("runs.0.depth", 10**30, "runs.0.depth = 1000000000000000000000000000000: "),
        ("runs.0.seed", -1, "runs.0.seed = -1: "),
        ("runs.0.network", "", "runs.0.network = '': "),
        ("runs.0.run_id", "../z/x", "runs.0.run_id = '../z/x': not a file name"),
        ("runs.0.parameters", -1, "runs.0.parameters = -1: "),
        ("runs.0.peak_memory_bytes", -1, "runs.0.peak_memory_bytes = -1: "),
        ("runs.0.pack_size", 0, "runs.0.pack_size = 0: "),
        ("runs.0.samples_per_s", "NaN", "runs.0.samples_per_s = NaN: "),
        ("runs.1.epochs.0.seconds", -1.0, "runs.1.epochs.0.seconds = -1.0: "),
        ("runs.1.epochs.0.samples_per_s", "Infinity", "runs.1.epochs.0.samples_per_s = Infinity: "),
        ("runs.1.epochs.0.epoch", 0, "runs.1.epochs.0.epoch = 0: "),
        ("runs.1.epochs.0.epoch", 2, "runs.1.epochs.0.epoch = 2: expected 1"),
        ("summary.points.0.depth", 0, "summary.points.0.depth = 0: "),
        ("summary.points.0.network", "", "summary.points.0.network = '': "),
        ("summary.fits.0.quantity", "x", "summary.fits.0.quantity = 'x': study 'training' has "),
        ("study", "forward-limit", "runs.0.epochs: runs of study 'forward-limit' have no epochs"),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(
    tmp_path: Path, make_profile: MakeProfile, key: str, value: object, place: str
) -> None:
    content = json.loads(make_profile(LOSSES).to_json())
    _change(content, key, value)
    path = tmp_path / "x.json"
    for text in (json.dumps(content), json.dumps(content, indent=1)):
        path.write_text(text)
        with pytest.raises(ProfileError, match=re.escape(f"x.json: {place}")) as caught:
            read_profile(path)
        assert "\n" not in str(caught.value)


def test_only_regular_files_are_read(
    tmp_path: Path, make_profile: MakeProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_profile(make_profile(LOSSES), tmp_path / "x.json")
    (tmp_path / "link.json").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "gone.json").symlink_to("nowhere")
    found = {path.name: str(content) for path, content in list_profiles(tmp_path)}
    assert read_profile(tmp_path / "link.json") == read_profile(path)
    assert found["pipe.json"].endswith("pipe.json: cannot be read: not a regular file")
    assert found["zero.json"].endswith("zero.json: cannot be read: not a regular file")
    assert "Too many levels of symbolic links" in found["loop.json"]
    assert "No such file" in found["gone.json"]
    monkeypatch.setattr("dnlbench.profiles.files.MOST_BYTES", 100)
    with pytest.raises(ProfileError, match=r"x\.json: cannot be read: larger than 100 bytes"):
        read_profile(path)


def test_an_unknown_study_is_refused_with_those_that_are_known(tmp_path: Path, make_profile: MakeProfile) -> None:
    path = save_profile(make_profile(LOSSES, study="other"), tmp_path / "x.json")
    with pytest.raises(ProfileError, match=r"x.json: study 'other' is not known to this version \(training, "):
        read_profile(path)


def test_a_pickle_is_refused_without_being_loaded(tmp_path: Path) -> None:
    import pickle

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "side-effect",))

    path = tmp_path / "x.json"
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ProfileError, match="not a profile"):
        read_profile(path)
    assert not (tmp_path / "side-effect").exists()


def test_keys_of_a_later_version_within_the_schema_are_no_obstacle(tmp_path: Path, make_profile: MakeProfile) -> None:
    content = json.loads(make_profile(LOSSES).to_json())
    content["new"] = content["runs"][0]["new"] = 1
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    assert read_profile(path) == make_profile(LOSSES)


def test_inconsistent_profiles_are_found(make_profile: MakeProfile) -> None:
    profile = make_profile(LOSSES)
    assert check_profile(profile) == []
    forged = profile.runs[0].model_copy(update={"final_train_loss": 0.001})
    assert check_profile(profile.model_copy(update={"runs": (forged, *profile.runs[1:])})) == [
        "densenet-L2-s0-00000000: final_train_loss is 0.001, but its epochs give 0.3",
        "summary: differs from the one computed from the runs",
    ]
    assert "a run id occurs more than once" in check_profile(make_profile(LOSSES, runs=profile.runs * 2))[0]
    assert "state: 'partial' does not fit" in check_profile(make_profile(LOSSES, state="partial"))[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"final_train_loss": None}, "final_train_loss is None, but its epochs give nan"),
        ({"samples_per_s": 1000.001}, "samples_per_s is 1000.001, but its epochs give 1000.0"),
        ({"evaluation_accuracy": 0.99}, "evaluation_accuracy is 0.99, but its epochs give None"),
        ({"epochs": ()}, "final_train_loss is nan, but its epochs give None"),
        ({"samples_per_s": 1000.0 * (1 + 1e-12)}, None),
    ],
)
def test_runs_that_contradict_their_epochs_are_found(
    make_profile: MakeProfile, changes: dict[str, object], problem: str | None
) -> None:
    profile = make_profile({("densenet", 2): [math.nan, 0.2]}, status="diverged")
    runs = (profile.runs[0].model_copy(update=changes), profile.runs[1])
    found = check_profile(profile.model_copy(update={"runs": runs}))
    assert found[:1] == ([f"densenet-L2-s0-00000000: {problem}"] if problem else [])


def test_a_profile_whose_keys_stand_otherwise_is_the_same_profile(tmp_path: Path, make_profile: MakeProfile) -> None:
    profile = make_profile({("densenet", 2): [0.1 + 0.2, 5e-324, 1e308], ("plain", 2): [math.nan, -math.inf, -0.0]})
    content = json.loads(profile.to_json())
    for place, text in enumerate(
        (
            json.dumps(content, indent=1).encode(),
            json.dumps(dict(reversed(content.items()))).encode(),
            json.dumps(content).encode("utf-8-sig"),
            json.dumps(content).encode("utf-16"),
        )
    ):
        path = tmp_path / f"{place}.json"
        path.write_bytes(text)
        assert read_profile(path).to_json() == profile.to_json()


def test_a_schema_is_no_matter_of_course(tmp_path: Path, make_profile: MakeProfile) -> None:
    content = json.loads(make_profile(LOSSES).to_json())
    path = tmp_path / "x.json"
    del content["schema"]
    for there in ({}, {"schema_": "dnlbench.profile/1"}):
        path.write_text(json.dumps(there | content))
        with pytest.raises(ProfileError, match="not a profile: its schema is None"):
            read_profile(path)
