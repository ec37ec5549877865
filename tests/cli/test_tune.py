"""``dnlbench tune`` on the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from dnlbench.engine import tuning
from dnlbench.engine.placement import choose_placement
from dnlbench.engine.request import RunRequest
from dnlbench.executor.tuning import tuning_file
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.spec import SpecText
from dnlbench.studies import Point

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger packs are faster."""

    def measure(plan: Plan, point: Point, slots: Sequence[Slot], pack_sizes: Sequence[int]) -> Mapping[int, float]:
        return {size: 100.0 * size for size in pack_sizes}

    monkeypatch.setattr(tuning, "tune", partial(tuning.tune, measure=measure))


def test_the_answer_is_shown_stored_and_used(run_cli: RunCli, spec_file: Path) -> None:
    options = ("--device", "cpu", "--jobs", "1")
    done = run_cli("tune", spec_file, *options, "--json")
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    assert (message["file"], message["network"], message["best"]["pack_size"]) == (
        str(tuning_file().path),
        "dense-gaussian",
        2,
    )
    assert [(trial["pack_size"], trial["samples_per_s"]) for trial in message["trials"]] == [(1, 100.0), (2, 200.0)]
    assert message["best"] in message["trials"]
    table = run_cli("tune", spec_file, *options, "--quiet")
    assert "chosen" in table.stdout
    assert table.stderr == ""
    request = RunRequest(spec=SpecText.read(str(spec_file)), device="cpu")
    assert choose_placement(request).pack_size == 2


def test_a_sweep_that_was_begun_is_named(run_cli: RunCli, spec_file: Path) -> None:
    small = ("--set", "sweep.networks=['densenet']", "--set", "sweep.depths=[1]", "--set", "train.epochs=1")
    assert run_cli("run", spec_file, *small, "--device", "cpu", "--jobs", "1", "--executor", "inline").returncode == 0
    done = run_cli("tune", spec_file, *small, "--device", "cpu", "--jobs", "1", "--quiet")
    assert done.returncode == 0
    assert "keeps its earlier settings; choose another --run-dir to use the new ones" in done.stderr


def test_what_cannot_be_tuned_is_refused(run_cli: RunCli) -> None:
    done = run_cli("tune", "forward-limit")
    assert done.returncode == 2
    assert "supports only training sweeps of built-in networks" in done.stderr
