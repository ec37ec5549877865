"""``request.json``: what is asked for reaches an engine whole, or is refused in words."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnlbench.cli.engine import engine
from dnlbench.engine.request import MOST, RunRequest, read_request, restored_on_error, resumed, write_request
from dnlbench.errors import ConfigurationError, EngineError, RunDirError
from dnlbench.plan import Plan
from dnlbench.profiles import read_profile
from dnlbench.spec import SpecText, list_presets, parse_spec
from dnlbench.spec.presets import Preset
from dnlbench.store import Execution, RunDir
from tests.conftest import request_for

MakePlan = Callable[..., Plan]

texts = st.text(st.characters(exclude_categories=["Cs"]))
paths = st.binary(min_size=1, max_size=20).map(lambda name: Path(os.fsdecode(name)))
numbers = st.none() | st.integers(1, MOST)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "spec": st.builds(SpecText, text=texts, origin=texts, settings=st.lists(texts).map(tuple)),
    "out": st.none() | paths,
    "run_dir": st.none(),  # it is where the file lies
    "device": texts,
    "jobs": numbers,
    "threads": numbers,
    "pack": numbers,
    "executor": st.sampled_from(["local", "inline", "ray"]),
    "ray_address": st.none() | texts,
    "ray_insecure": st.booleans(),
    "checkpoint_s": st.floats(min_value=0.0),
    "resume": st.booleans(),
    "keep_weights": st.booleans(),
    "session": st.none() | texts,
}


def test_every_field_is_tried() -> None:
    assert [field.name for field in fields(RunRequest)] == list(FIELDS)


@given(request_=st.builds(RunRequest, **FIELDS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_field_survives(tmp_path: Path, request_: RunRequest) -> None:
    write_request(request_, RunDir(tmp_path))
    assert read_request(RunDir(tmp_path)) == replace(request_, run_dir=tmp_path)


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_every_spec_survives_being_written_as_text(preset: Preset) -> None:
    spec = parse_spec(preset.text, preset.name)
    assert SpecText.of(spec).parse() == SpecText.read(preset.name).parse() == spec


def test_an_older_version_is_told_no_more_than_it_has_to_know(make_plan: MakePlan, tmp_path: Path) -> None:
    write_request(request_for(make_plan(), jobs=2), RunDir(tmp_path))
    assert json.loads((tmp_path / "request.json").read_text()).keys() == {"schema", "spec", "jobs"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("torn", "request.json is damaged: not valid JSON"),
        ("[]", "request.json is damaged: must be a JSON object"),
        (
            {"schema": "dnlbench.request/2"},
            "written by another version of dnlbench: its schema is 'dnlbench.request/2'",
        ),
        ({"color": "red"}, 'this version of dnlbench does not support the key "color"'),
        (
            {"spec": {"text": "", "origin": "", "color": "red"}},
            'this version of dnlbench does not support the key "spec.color"',
        ),
        ({"device": 3}, 'request.json is damaged: "device"'),
        ({"executor": "slurm"}, "request.json: --executor slurm: no such executor; choose local, inline, ray"),
        ({"jobs": 10**6}, "--jobs 1000000: choose a number from 1 to 4096"),
        ({"spec": {"text": "study = 'x'", "origin": "a.toml"}}, "a.toml:1: study = 'x': allowed: training"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(
    make_plan: MakePlan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: str | dict[str, object],
    message: str,
) -> None:
    path = tmp_path / "request.json"
    write_request(request_for(make_plan()), RunDir(tmp_path))
    complete = path.read_text()
    path.write_text(
        json.dumps({**json.loads(complete), **change})
        if isinstance(change, dict)
        else change.replace("torn", complete[: len(complete) // 2])
    )
    with pytest.raises(typer.Exit) as ended:
        engine(tmp_path)
    assert ended.value.exit_code == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("dnlbench: error: ")
    assert message in stderr


def test_a_run_directory_without_a_request_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"no request\.json found"):
        read_request(RunDir(tmp_path))


@pytest.mark.parametrize("error", [ConfigurationError("no"), EngineError("no")])
def test_a_request_that_is_refused_leaves_an_earlier_one_and_its_plan(
    make_plan: MakePlan, tmp_path: Path, error: Exception
) -> None:
    run_dir, asked, execution = (
        RunDir(tmp_path),
        request_for(make_plan()),
        Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="m"),
    )
    run_dir.begin(asked.plan, execution)
    write_request(asked, run_dir)

    def replace_by(stop: BaseException) -> None:
        more = request_for(make_plan("sweep.seeds=9"))
        with suppress(type(stop)), restored_on_error(run_dir):
            run_dir.begin(more.plan, execution)
            write_request(more, run_dir)
            raise stop

    replace_by(error)
    assert read_request(run_dir) == replace(asked, run_dir=run_dir.root)
    assert run_dir.read_plan() == asked.plan
    replace_by(KeyboardInterrupt())
    assert read_request(run_dir).plan == run_dir.read_plan() != asked.plan


def test_what_is_left_open_is_resumed_as_it_was_asked_for(make_plan: MakePlan, tmp_path: Path) -> None:
    started = request_for(make_plan(), device="cpu", jobs=3, threads=2, pack=1, executor="inline", out=Path("out.json"))
    again = request_for(make_plan("sweep.seeds=9"), run_dir=tmp_path, jobs=1)
    assert resumed(replace(again, resume=True)) == replace(again, resume=True), "there is nothing to resume"
    write_request(started, RunDir(tmp_path))
    assert resumed(again) == again, "unless it is to be resumed"
    complete = replace(again, resume=True, device="cpu", threads=2, pack=1)
    assert resumed(replace(again, resume=True)) == complete


def test_every_option_of_run_reaches_a_detached_engine(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[RunRequest] = []

    def launch(request: RunRequest, run_dir: RunDir) -> int:
        launched.append(request)
        return 4242

    monkeypatch.setattr("dnlbench.engine.launch.launch", launch)
    options: dict[str, Any] = {
        **{"--set": "train.epochs=3", "--out": "out.json", "--run-dir": "rd", "--device": "cpu", "--jobs": 2},
        **{"--threads": 3, "--pack": 4, "--executor": "inline", "--ray-address": "host:1", "--checkpoint-every": 5},
    }
    flags = ("--ray-insecure", "--keep-weights", "--resume", "--detach", "--json")
    done = run_cli("run", spec_file, *(part for option in options.items() for part in option), *flags)
    assert json.loads(done.stdout) == {"run_dir": "rd", "pid": 4242}
    (asked,) = launched
    expected: dict[str, Any] = {
        **{"out": Path("out.json"), "run_dir": Path("rd"), "device": "cpu", "jobs": 2, "threads": 3, "pack": 4},
        **{"executor": "inline", "ray_address": "host:1", "ray_insecure": True, "checkpoint_s": 5.0},
        **{"resume": True, "keep_weights": True},
    }
    assert expected.keys() == FIELDS.keys() - {"spec", "session"}
    spec = SpecText(text=spec_file.read_text(), origin=str(spec_file), settings=("train.epochs=3",))
    assert asked == RunRequest(spec=spec, **expected)


def test_an_engine_runs_what_its_run_directory_asks_for(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan("sweep.networks=['densenet']", "sweep.depths=[1]", "sweep.seeds=1")
    asked = request_for(plan, executor="inline", device="cpu", threads=1, out=Path("out.json"))
    write_request(asked, RunDir(Path("rd")))
    with pytest.raises(typer.Exit) as ended:
        engine(Path("rd"))
    assert ended.value.exit_code == 0
    assert capsys.readouterr().out.splitlines()[-1] == "out.json"
    assert [run.run_id for run in read_profile(Path("out.json")).runs] == [run.run_id for run in plan.runs]
    assert read_request(RunDir(Path("rd"))) == replace(asked, run_dir=Path("rd"))
