"""The embedding study as a user runs it: its preset in a reduced form."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.profiles import check_profile, read_profile
from tests.conftest import call

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.xdist_group("embedding sweep")

SMALL = [
    *("--set", "sweep.depths=[1,2]", "--set", "sweep.width_factors=[2]", "--set", "sweep.learning_rates=[0.3]"),
    *("--set", "train.steps=80", "--set", "train.late_steps=20", "--device", "cpu", "--threads", "1"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sweep that ran once, with ``out.json``, and its output."""
    path = tmp_path_factory.mktemp("embedding")
    done = call(path, "run", "embedding", *SMALL, "--executor=inline", "--out=out.json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "embedding: 12 runs on digits 0 and 1, 12 images of 1×4×4 in 2 classes" in done.stderr
    return path


def test_the_profile_is_sound_and_as_theory_says(run_cli: RunCli, folder: Path) -> None:
    profile = read_profile(folder / "out.json")
    assert check_profile(profile) == []
    assert (profile.study, profile.state, len(profile.runs)) == ("embedding", "complete", 12)
    assert {run.status for run in profile.runs} == {"ok"}
    for run in profile.runs:
        deviation = run.measurements["deviation"]
        assert isinstance(deviation, float)
        assert deviation < 1e-10
    shown = run_cli("profiles", "show", folder / "out.json")
    assert shown.returncode == 0, shown.stderr
    main, *_ = shown.stdout.partition("Differences that the embedding principle predicts to be 0")
    rows = [line.split() for line in main.splitlines() if "-x2-lr0.3 " in line]
    assert len(rows) == 6
    assert {row[-1] for row in rows} == {"yes"}
    assert "Maximum margin at late times: narrow and wide network" in shown.stdout


def test_it_does_not_differ_from_itself(run_cli: RunCli, folder: Path) -> None:
    done = run_cli("compare", folder / "out.json", folder / "out.json", "--format", "json")
    assert done.returncode == 0, done.stderr
    shown = run_cli("compare", folder / "out.json", folder / "out.json")
    assert "no difference" in shown.stdout
    assert "which is rounding" in shown.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[sweep]\nwidth_factors = [0]", "bad.toml:5: sweep.width_factors[0] = 0: must be greater than or equal to 1"),
        ("[network]\nbiases = true", "bad.toml:9: network.biases = True: must be false: with biases"),
        ("[network]\nbatch_norm = true", "bad.toml:9: network.batch_norm = True: must be false: batch norm"),
        (
            '[splitting]\ncoefficients = "given"\nvalues = [0.6, 0.9]',
            "bad.toml:10: splitting.values = [0.6, 0.9]: their squares add up to 1.17 instead of 1",
        ),
    ],
)
def test_specs_that_cannot_be_run_are_exit_code_2(run_cli: RunCli, tmp_path: Path, line: str, message: str) -> None:
    sweep = 'networks = ["densenet"]\ndepths = [1]\n'
    factors = "" if "[sweep]" in line else "width_factors = [2]\n"
    first = line.partition("\n")[2] + "\n" if "[sweep]" in line else factors
    rest = "" if "[sweep]" in line else f"\n{line}\n"
    (tmp_path / "bad.toml").write_text(f'name = "bad"\nstudy = "embedding"\n[sweep]\n{first}{sweep}{rest}')
    done = run_cli("run", "bad.toml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message.partition(": ")[2] in done.stderr
    assert "bad.toml:" in done.stderr
