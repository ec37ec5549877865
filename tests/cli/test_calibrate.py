"""The noise floor on the command line: measured, shown, and what gates make of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from dnlbench.engine.request import RunRequest
from dnlbench.noise import Floor, NoiseFile
from dnlbench.profiles import Profile, save_profile
from tests.conftest import MACHINE

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
MakeProfile = Callable[..., Profile]


def know(floor: float, device: str = "cpu") -> None:
    """A floor of the made-up profiles' machine."""
    fields = {"sweep": "x", "rounds": 3, "networks": ("densenet",), "device": device, "threads": 1, "torch": "2"}
    known = {**fields, "measured": datetime(2026, 11, 20, tzinfo=UTC), "floors": {"samples_per_s": floor}}
    NoiseFile().put(MACHINE.fingerprint, Floor.model_validate(known))


@pytest.mark.faults
def test_calibration_measures_a_floor_and_shows_it(
    run_cli: RunCli, tmp_path: Path, spec_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With engines of their own, but workers in them: they are of no matter here."""
    unknown = run_cli("calibrate", "--show")
    assert (unknown.returncode, unknown.stdout) == (0, "")
    assert "has no noise floor yet" in unknown.stderr
    monkeypatch.setattr("dnlbench.engine.request.RunRequest", partial(RunRequest, executor="inline"))
    small = ["--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]", "--device", "cpu"]
    done = run_cli("calibrate", spec_file, "--rounds", "1", *small, "--json")
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    floor = message["floor"]
    assert message["file"] == str(NoiseFile().path)
    assert (floor["rounds"], floor["networks"], floor["threads"]) == (1, ["densenet"], 1)
    assert floor["floors"]["peak_memory_bytes"] == 0.0  # equal to the byte
    assert floor["floors"]["samples_per_s"] > 0.0
    assert "throughput" in run_cli("calibrate", "--show").stdout
    assert json.loads(run_cli("calibrate", "--show", "--json").stdout)["floors"] == [floor]
    assert [path.name for path in tmp_path.iterdir()] == [spec_file.name]  # nothing is left of its rounds


def test_a_study_without_noise_is_not_calibrated(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("calibrate", "forward-limit")
    assert done.returncode == 2
    assert "study 'forward-limit': has no noise floor, because its quantities do not depend" in done.stderr
    assert not NoiseFile().path.exists()


@pytest.mark.parametrize(
    ("floor", "device", "code"), [(None, "cpu", 3), (0.02, "cpu", 3), (0.2, "cpu", 0), (0.2, "cuda:0", 3)]
)
def test_a_gate_bears_what_is_noise(
    run_cli: RunCli, tmp_path: Path, make_profile: MakeProfile, floor: float | None, device: str, code: int
) -> None:
    losses = {("densenet", 2): [0.30, 0.40, 0.50]}
    before = save_profile(make_profile(losses, interleaved="one"), tmp_path / "before.json")
    after = save_profile(make_profile(losses, rate=900.0, interleaved="one"), tmp_path / "after.json")
    if floor is not None:
        know(floor, device)
    done = run_cli("compare", before, after, "--fail-on", "throughput:5%")
    assert done.returncode == code, done.stderr
    assert ("noise floor of 20 %" in done.stderr) == (code == 0)
