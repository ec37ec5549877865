"""The forward-limit study as a user runs it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench import units
from dnlbench.profiles import Profile, check_profile, read_profile
from dnlbench.studies.forward_limit import FORWARD_LIMIT
from tests.conftest import call

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.xdist_group("forward-limit sweep")

SMALL = [
    *("--set", "sweep.kernels=['local','gaussian']", "--set", "sweep.activations=['tanh']"),
    *("--set", "sweep.depths=[4,8,16,32]", "--set", "sweep.seeds=2"),
    *("--set", "reference.steps=32", "--set", "reference.levels=2", "--device", "cpu", "--threads", "1"),
]
NETWORKS = ("local-tanh", "gaussian-tanh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sweep that ran once on two workers, with ``rd`` and ``out.json``."""
    path = tmp_path_factory.mktemp("forward-limit")
    done = call(path, "run", "forward-limit", *SMALL, "--jobs=2", "--run-dir=rd", "--out=out.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "out.json"
    assert "forward-limit: 16 runs on random inputs, 4 samples of 5 positions with 3 channels" in done.stderr
    assert "[16/16] " in done.stderr
    return path


def measurements(profile: Profile) -> dict[str, dict[str, float | tuple[float, ...]]]:
    return {run.run_id: run.measurements for run in profile.runs}


def test_the_profile_holds_every_quantity_of_every_run(run_cli: RunCli, folder: Path) -> None:
    validated = run_cli("profiles", "validate", folder / "out.json")
    assert validated.returncode == 0, validated.stderr
    assert validated.stdout.strip().endswith("out.json: ok")
    profile = read_profile(folder / "out.json")
    assert check_profile(profile) == []
    assert (profile.study, profile.state, len(profile.runs)) == ("forward-limit", "complete", 16)
    assert {run.status for run in profile.runs} == {"ok"}
    names = {quantity.name for quantity in FORWARD_LIMIT.quantities}
    for run in profile.runs:
        assert run.measurements.keys() == names | {"errors"}
        assert all(math.isfinite(value) for value in run.measurements.values() if isinstance(value, float))
        errors = run.measurements["errors"]
        assert isinstance(errors, tuple)
        assert len(errors) == run.depth
        assert run.measurements["error_max"] == max(errors)
    assert {(point.network, point.depth) for point in profile.summary.points} == {
        (network, depth) for network in NETWORKS for depth in (4, 8, 16, 32)
    }
    assert all(point.quantities.keys() == names for point in profile.summary.points)
    assert all(interval.n == 2 for point in profile.summary.points for interval in point.quantities.values())


def test_the_profile_holds_an_order_for_each_network_and_error(folder: Path) -> None:
    fits = read_profile(folder / "out.json").summary.fits
    assert [(fit.quantity, fit.network) for fit in fits] == [
        (quantity, network) for quantity in ("error_max", "error_end") for network in NETWORKS
    ]
    for fit in fits:
        assert (fit.model, fit.expected_order, fit.depths, fit.problem) == ("power", 1.0, (4, 8, 16, 32), "")
        assert fit.order is not None
        assert fit.order_low is not None
        assert fit.order_high is not None
        assert fit.order_low < fit.order < fit.order_high
        assert 0.8 < fit.order < 1.2  # few seeds, at small depths
        assert fit.order_limit is not None
        assert (fit.at_least, fit.agrees) == (True, True)
        assert fit.order_limit > 0.9
        assert len(fit.local_orders) == 3
    written = json.loads((folder / "out.json").read_text())
    assert all(isinstance(fit["order"], float) for fit in written["summary"]["fits"])


def test_the_orders_are_shown_as_a_table(run_cli: RunCli, folder: Path) -> None:
    shown = run_cli("profiles", "show", folder / "out.json")
    assert shown.returncode == 0, shown.stderr
    _, title, table = shown.stdout.partition("Order of convergence: value ≈ C / L^p")
    assert title
    rows = [line.split() for line in table.splitlines() if line.startswith(NETWORKS)]
    assert [row[0] for row in rows] == [*NETWORKS, *NETWORKS]
    fits = read_profile(folder / "out.json").summary.fits
    assert [row[-3:] for row in rows] == [["≥", "1", "yes"]] * 4
    for row, fit in zip(rows, fits, strict=True):
        assert ", ".join(f"{order:.2f}" for order in fit.local_orders) in " ".join(row)
        assert units.bounded(fit.order_limit, fit.order_limit_low, fit.order_limit_high) in " ".join(row)
    assert "Assumptions of the theory, and the bound of Lemma 2" in shown.stdout


def test_a_second_start_does_nothing_and_gives_the_same_profile(run_cli: RunCli, folder: Path) -> None:
    run_dir, out = folder / "rd", folder / "again.json"
    sizes = {path: path.stat().st_size for path in run_dir.glob("runs/*/events.jsonl")}
    assert len(sizes) == 16
    again = run_cli("run", "forward-limit", *SMALL, "--run-dir", run_dir, "--out", out, "--resume")
    assert again.returncode == 0, again.stderr
    assert "16 of 16 runs are already finished in the run directory" in again.stderr
    assert "Nothing is left to train" in again.stderr
    assert {path: path.stat().st_size for path in sizes} == sizes
    first, second = read_profile(folder / "out.json"), read_profile(out)
    assert second.runs == first.runs
    assert second.summary == first.summary


def test_a_sweep_can_grow_by_depths_but_its_settings_stay(run_cli: RunCli, tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder / "rd", tmp_path / "rd")
    grown = ["run", "forward-limit", *SMALL, "--set", "sweep.depths=[4,8,16,32,2]", "--run-dir", "rd"]
    done = run_cli(*grown, "--jobs", "1", "--out", "grown.json")
    assert done.returncode == 0, done.stderr
    assert "16 of 20 runs are already finished in the run directory" in done.stderr
    result, before = (measurements(read_profile(path)) for path in (tmp_path / "grown.json", folder / "out.json"))
    assert len(result) == 20
    assert before.items() <= result.items()
    refused = run_cli(*grown, "--set", "curves.scale=0.5")
    assert refused.returncode == 2
    assert "already contains a sweep with other settings: " in refused.stderr


def test_in_this_process_the_same_bits_are_found(run_cli: RunCli, tmp_path: Path, folder: Path) -> None:
    done = run_cli("run", "forward-limit", *SMALL, "--executor", "inline", "--out", "inline.json")
    assert done.returncode == 0, done.stderr
    inline, local = read_profile(tmp_path / "inline.json"), read_profile(folder / "out.json")
    assert measurements(inline) == measurements(local)
    assert inline.data == local.data
    assert inline.summary == local.summary


def test_curves_that_no_step_can_follow_are_failed_runs(run_cli: RunCli, tmp_path: Path) -> None:
    wild = ["--set", "sweep.kernels=['local']", "--set", "sweep.depths=[4]", "--set", "curves.scale=1e3"]
    done = run_cli("run", "forward-limit", *SMALL, *wild, "--executor", "inline", "--out", "wild.json")
    assert done.returncode == 1, done.stderr
    profile = read_profile(tmp_path / "wild.json")
    assert check_profile(profile) == []
    for run in profile.runs:
        assert run.status == "failed"
        assert run.error is not None
        assert run.error.type == "ImplicitStepError"
        assert "take more steps" in run.error.message
    assert all(fit.problem and fit.order is None for fit in profile.summary.fits)


def test_a_jump_has_order_0_and_theory_says_nothing_of_it(run_cli: RunCli, tmp_path: Path, folder: Path) -> None:
    rough = ["--set", "curves.roughness=jump", "--set", "sweep.kernels=['local']", "--set", "reference.levels=3"]
    done = run_cli("run", "forward-limit", *SMALL, *rough, "--executor", "inline", "--out", "jump.json")
    assert done.returncode == 0, done.stderr
    profile = read_profile(tmp_path / "jump.json")
    assert check_profile(profile) == []
    largest, end = profile.summary.fits
    assert largest.order_limit == pytest.approx(0.0, abs=0.2)
    assert end.order_limit == pytest.approx(1.0, abs=0.4)
    assert {(fit.expected_order, fit.agrees) for fit in (largest, end)} == {(None, None)}
    for run in profile.runs:
        result = run.measurements
        assert result["outside_assumptions"] == 1.0
        assert isinstance(result["reference_error"], float)
        assert isinstance(result["error_max"], float)
        assert result["reference_error"] < 0.05 * result["error_max"]
    assert (
        "the network violates the assumptions of the theory"
        in done.stderr + run_cli("profiles", "show", "jump.json").stdout
    )
    refused = run_cli("compare", folder / "out.json", "jump.json")
    assert refused.returncode == 5
    assert "curves.roughness = smooth and jump" in refused.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "sweep.depths=[8,12]",
            "reference.steps = 32: must be a multiple of every depth, since its grid compares the states; depth 12",
        ),
        (
            "reference.steps=48",
            "reference.steps = 48: must be a multiple of every depth, since its grid compares the states; depth 32",
        ),
        ("sweep.kernels=['local','gausian']", "sweep.kernels[1] = 'gausian': allowed: local, attention, "),
        ("sweep.kernels=['gausian']", "; did you mean 'gaussian'?"),
        ("sweep.networks=['densenet']", "sweep.networks: unknown key"),
    ],
)
def test_specs_that_cannot_be_run_are_exit_code_2(run_cli: RunCli, tmp_path: Path, override: str, message: str) -> None:
    done = run_cli("run", "forward-limit", *SMALL, "--set", override)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dnlbench: error: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
