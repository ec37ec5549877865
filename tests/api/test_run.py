"""``dnlbench.run`` and ``dnlbench.load``: the same results, files and errors as the command line."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dnlbench
from dnlbench.api import _spec_text
from dnlbench.errors import (
    ConfigurationError,
    DeviceError,
    NotComparableError,
    ProfileError,
    RunDirError,
    SpecError,
)
from dnlbench.profiles import check_profile, read_profile
from dnlbench.spec import parse_spec
from tests.api.conftest import SPEC
from tests.cli.conftest import OWN, Gate, _wait_until
from tests.conftest import TINY, call

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
SETTINGS = ("sweep.networks=densenet", "train.epochs=1")
"""What makes `TINY` equal to `SPEC`."""


def test_the_profile_equals_that_of_the_command_line(sweep: dnlbench.Profile, folder: Path) -> None:
    (folder / "tiny.toml").write_text(TINY)
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    how = ["--device", "cpu", "--executor", "inline", "--jobs", "1", "--threads", "1"]
    done = call(folder, "run", "tiny.toml", *options, *how, "--run-dir", "rd", "--out", "cli.json", "--resume")
    assert done.returncode == 0, done.stderr
    assert "Nothing is left to train" in done.stderr
    assert (folder / "cli.json").read_bytes() == (folder / "out.json").read_bytes() == sweep.to_json()
    assert check_profile(sweep) == []
    assert [run.status for run in sweep.runs] == ["ok"] * 4


def test_a_profile_is_loaded_from_a_file_and_from_a_run_directory(sweep: dnlbench.Profile, folder: Path) -> None:
    for path in (folder / "out.json", str(folder / "out.json"), folder / "rd", f"{folder}/rd"):
        loaded = dnlbench.load(path)
        assert isinstance(loaded, dnlbench.Profile)
        assert loaded == sweep
    saved = loaded.save(str(folder / "again" / "saved.json"))
    assert saved.read_bytes() == (folder / "out.json").read_bytes()
    assert read_profile(saved).to_json() == sweep.to_json()


def test_a_spec_is_a_name_a_path_dicts_or_an_object(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY)
    expected = parse_spec(TINY, "tiny.toml", SETTINGS)
    as_values = {"sweep": {"networks": ["densenet"]}, "train.epochs": np.int64(1)}
    assert _spec_text(SPEC, ()).parse() == expected
    assert _spec_text(file, SETTINGS).parse() == _spec_text(str(file), as_values).parse() == expected
    assert _spec_text(expected, {}).parse() == expected
    preset = _spec_text("digits-quick", {"network.window": None, "train.lr": np.float64(0.25)}).parse()
    assert preset.model_dump()["train"]["lr"] == 0.25


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("digits-quik", {}, SpecError, "digits-quik: no such file, and no preset with this name; did you mean"),
        (SPEC | {"train": {"lr": "fast"}}, {}, SpecError, "train.lr"),
        (
            SPEC | {"train": {"lr": object}},
            {},
            SpecError,
            "spec: <class 'object'> is a value of type type; write numbers",
        ),
        (SPEC, {"settings": {"train.lr": 1j}}, SpecError, "settings: 1j is a value of type complex"),
        (SPEC, {"settings": {"train.speed": 1}}, SpecError, "train.speed"),
        (SPEC, {"settings": ["train.lr"]}, SpecError, "write it as KEY=VALUE"),
        (SPEC, {"jobs": 0}, ConfigurationError, "--jobs 0: choose a number from 1 to 4096"),
        (SPEC, {"jobs": "many"}, ConfigurationError, "jobs='many': Input should be a valid integer"),
        (SPEC, {"pack": "all"}, ConfigurationError, "--pack all: write a whole number from 1 to 4096, auto or off"),
        (SPEC, {"device": "abacus"}, DeviceError, "abacus"),
        (SPEC, {"run_dir": "none", "resume": True}, RunDirError, "--resume: none: no sweep to resume"),
    ],
)
def test_errors_are_exceptions(
    spec: Any,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        dnlbench.run(spec, **options)
    assert message in str(caught.value)
    assert isinstance(caught.value, dnlbench.DnlbenchError)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_paths_and_comparisons(sweep: dnlbench.Profile, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"missing\.json: cannot be read: No such file"):
        dnlbench.load("missing.json")
    with pytest.raises(RunDirError):
        dnlbench.load(tmp_path)
    with pytest.raises(ConfigurationError, match="name at least one profile"):
        dnlbench.compare(sweep)
    with pytest.raises(ConfigurationError, match=r"networks=\('a', 'b'\): requires match='depth'"):
        dnlbench.compare(sweep, sweep, networks=("a", "b"))
    other = sweep.model_copy(update={"data": sweep.data.model_copy(update={"sha256": "cd" * 32})})
    with pytest.raises(NotComparableError, match="candidate 2: not comparable with reference: the data sets differ"):
        dnlbench.compare(sweep, sweep, other)


def test_a_script_runs_and_continues_after_an_interrupt(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    spec = SPEC | {
        "sweep": {"networks": ["own:gated"], "depths": [1], "seeds": 2},
        "train": {"epochs": 2, "batch_size": 4},
    }
    spec = spec | {"data": {"limit": 150}, "network": {}}
    options = "run_dir='rd', device='cpu', jobs=2, threads=1, out='x.json'"
    script = f"import dnlbench\nprint(repr(dnlbench.run({spec!r}, {options})))"
    command = [sys.executable, "-c", f"{script}\nprint('next statement')"]
    gate = Gate(tmp_path / ".gate")
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _wait_until(lambda: '"run-leased"' in _text(tmp_path / "rd" / "journal.jsonl") or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        gate.open()
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "KeyboardInterrupt: the sweep is suspended; the same call continues it (run directory: rd)" in stderr
    assert process.returncode != 0
    assert stdout == ""
    assert '"reason":"interrupted"' in _text(tmp_path / "rd" / "journal.jsonl")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Profile 'tiny', study training, complete: 2 of 2 runs ok, ")
    assert done.stdout.endswith("next statement\n")
    assert re.search(r"\[2/2\] own:gated L=1 seed [01]: loss", done.stderr)
    assert "profile: x.json" in done.stderr


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
