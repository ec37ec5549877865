"""The relu-limit study as a user runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.profiles import check_profile, read_profile
from tests.conftest import call

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.xdist_group("relu-limit sweep")

SMALL = [
    *("--set", "sweep.exponents=[0.5,2]", "--set", "sweep.depths=[16,64,256]", "--set", "sweep.seeds=3"),
    *("--set", "data.points=16", "--device", "cpu", "--threads", "1"),
]
NETWORKS = ("dense-a0.5", "dense-a2", "conv-a0.5", "conv-a2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reduced preset that ran once on a worker, with ``rd`` and ``out.json``."""
    path = tmp_path_factory.mktemp("relu-limit")
    done = call(path, "run", "relu-limit", *SMALL, "--jobs=1", "--run-dir=rd", "--out=out.json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "relu-limit: 36 runs on random points, 16 samples of 3 positions with 2 channels" in done.stderr
    assert "[36/36] " in done.stderr
    return path


def test_the_profile_holds_orders_and_verdicts(run_cli: RunCli, folder: Path) -> None:
    profile = read_profile(folder / "out.json")
    assert check_profile(profile) == []
    assert (profile.study, profile.state, len(profile.runs)) == ("relu-limit", "complete", 36)
    assert {run.status for run in profile.runs} == {"ok"}
    assert [fit.network for fit in profile.summary.fits] == list(NETWORKS)
    for fit in profile.summary.fits:
        slow = fit.network.endswith("a0.5")
        assert fit.depths == (16, 64, 256)
        assert fit.expected_order == (None if slow else 1.5)
        assert (fit.theory, fit.seen) == (
            ("possible", "not seen to converge") if slow else ("guaranteed", "converging")
        )
        assert fit.order is not None
        assert abs(fit.order - (0 if slow else 1.5)) < 0.4  # few seeds, at small depths
    validated = run_cli("profiles", "validate", folder / "out.json")
    assert validated.returncode == 0, validated.stderr


def test_a_verdict_that_the_runs_do_not_say_is_noticed(folder: Path) -> None:
    profile = read_profile(folder / "out.json")
    fits = tuple(fit.model_copy(update={"theory": "guaranteed"}) for fit in profile.summary.fits)
    changed = profile.model_copy(update={"summary": profile.summary.model_copy(update={"fits": fits})})
    assert check_profile(changed) == ["summary: differs from the one computed from the runs"]


def test_the_verdicts_are_shown_beside_the_orders(run_cli: RunCli, folder: Path) -> None:
    shown = run_cli("profiles", "show", folder / "out.json")
    assert shown.returncode == 0, shown.stderr
    _, title, table = shown.stdout.partition("Order of convergence: value ≈ C / L^p")
    assert title
    rows = {line.split()[0]: line for line in table.splitlines() if line.startswith(NETWORKS)}
    assert list(rows) == list(NETWORKS)
    assert rows["dense-a2"].rstrip().endswith("guaranteed  converging")
    assert rows["conv-a0.5"].rstrip().endswith("possible    not seen to converge")
    for words in ("|x_2L − x_L|", "activation", "sum of", "‖P_n‖"):
        assert words in shown.stdout


def test_in_this_process_the_same_bits_are_found(run_cli: RunCli, tmp_path: Path, folder: Path) -> None:
    done = run_cli("run", "relu-limit", *SMALL, "--executor", "inline", "--out", "inline.json")
    assert done.returncode == 0, done.stderr
    inline, local = read_profile(tmp_path / "inline.json"), read_profile(folder / "out.json")
    assert {run.run_id: run.measurements for run in inline.runs} == {run.run_id: run.measurements for run in local.runs}
    compared = run_cli("compare", folder / "out.json", tmp_path / "inline.json")
    assert compared.returncode == 0, compared.stderr
    assert "no difference" in compared.stdout
    assert "inconclusive" not in compared.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.exponents=[1,0]", "sweep.exponents[1] = 0: must be greater than 0"),
        ("sweep.exponents=[-0.5]", "sweep.exponents[0] = -0.5: must be greater than 0"),
        ("sweep.exponents=[2,2.0]", "sweep.exponents repeats 2.0"),
        ("sweep.bias_exponents=[0]", "sweep.bias_exponents[0] = 0: must be greater than 0"),
        ("sweep.weights=['dens']", "sweep.weights[0] = 'dens': allowed: dense, conv; did you mean 'dense'?"),
        ("sweep.directions=[]", "sweep.directions is empty: at least one value is needed"),
        ("network.channels=0", "network.channels = 0: must be greater than or equal to 1"),
        ("network.width=6", "network.width: unknown key"),
        ("network.weight_scale=-1", "network.weight_scale = -1: must be greater than or equal to 0"),
        ("data.points=0", "data.points = 0: must be greater than or equal to 1"),
    ],
)
def test_specs_that_cannot_be_run_are_exit_code_2(run_cli: RunCli, tmp_path: Path, override: str, message: str) -> None:
    done = run_cli("run", "relu-limit", *SMALL, "--set", override)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"dnlbench: error: --set {override}: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_wrong_value_in_a_file_is_told_with_its_line(run_cli: RunCli, tmp_path: Path) -> None:
    spec = 'name = "x"\nstudy = "relu-limit"\n[sweep]\nweights = ["dense"]\nexponents = [1, -2]\ndepths = [4]\n'
    (tmp_path / "bad.toml").write_text(spec)
    done = run_cli("run", "bad.toml")
    assert done.returncode == 2
    assert done.stderr == "dnlbench: error: bad.toml:5: sweep.exponents[1] = -2: must be greater than 0\n"
