"""``dnlbench compare --fail-on`` as a continuous integration meets it: exit codes, stderr and files."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dnlbench.profiles import Profile, save_profile

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22]}
RULES = ("--fail-on", "throughput:5%", "--fail-on", "loss:worse", "--fail-on", "failed")


@pytest.fixture
def saved(tmp_path: Path, make_profile: MakeProfile) -> Callable[..., Path]:
    def save(
        name: str, factors: tuple[float, ...] = (1.0, 1.0, 1.0), rate: float = 1000.0, session: str | None = "ab"
    ) -> Path:
        losses = {point: [a * b for a, b in zip(values, factors, strict=True)] for point, values in LOSSES.items()}
        return save_profile(make_profile(losses, rate=rate, name=name, interleaved=session), tmp_path / f"{name}.json")

    return save


Saved = Callable[..., Path]


def test_equal_results_pass(run_cli: RunCli, saved: Saved) -> None:
    base = saved("base")
    done = run_cli("compare", base, base, *RULES, "--inconclusive", "fail")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "dnlbench: pass: throughput:5% of densenet at L = 2, 4: degradation 1.000 [1.000, 1.000]",
        "dnlbench: pass: loss:worse of densenet at L = 2, 4: degradation 1.000 [1.000, 1.000]",
        "dnlbench: pass: failed of densenet at L = 2, 4",
        "dnlbench: gate: pass",
    ]
    assert done.stdout == run_cli("compare", base, base).stdout


def test_a_regression_is_exit_code_3_and_is_told(run_cli: RunCli, saved: Saved) -> None:
    base, slow = saved("base"), saved("slow", rate=800.0)
    done = run_cli("compare", base, slow, *RULES, "--format", "json")
    assert done.returncode == 3
    assert done.stderr.startswith(
        "dnlbench: fail: throughput:5% of densenet at L = 2, 4: degradation 1.250 [1.250, 1.250]"
    )
    result = json.loads(done.stdout)["gate"]
    assert result["outcome"] == "fail"
    assert [(finding["rule"], finding["outcome"]) for finding in result["findings"]] == [
        ("throughput:5%", "fail"),
        ("loss:worse", "pass"),
        ("failed", "pass"),
    ]
    assert result["findings"][0]["effect"]["estimate"] == pytest.approx(1.25)
    assert run_cli("compare", base, slow).returncode == 0


def test_inconclusive_is_a_warning_or_exit_code_4(run_cli: RunCli, saved: Saved) -> None:
    paths = saved("base"), saved("noisy", (0.8, 1.0, 1.3))
    done = run_cli("compare", *paths, *RULES)
    assert done.returncode == 0
    assert "dnlbench: inconclusive: loss:worse of densenet" in done.stderr
    assert done.stderr.splitlines()[-1] == "dnlbench: gate: inconclusive"
    assert run_cli("compare", *paths, *RULES, "--inconclusive", "fail").returncode == 4


def test_what_cannot_be_judged_is_exit_code_5(run_cli: RunCli, saved: Saved) -> None:
    base, apart = saved("base"), saved("apart", rate=500.0, session=None)
    done = run_cli("compare", base, apart, *RULES)
    assert done.returncode == 5
    assert "not comparable: throughput:5% of densenet at L = 2, 4: degradation 2.000: measured at dif" in done.stderr
    assert run_cli("compare", base, apart, "--fail-on", "loss:worse").returncode == 0


def test_a_candidate_with_nothing_in_common_does_not_hide_a_regression(
    run_cli: RunCli, saved: Saved, make_profile: MakeProfile, tmp_path: Path
) -> None:
    base, slow = saved("base"), saved("slow", rate=800.0)
    other = save_profile(make_profile({("plain", 2): [0.1, 0.2]}), tmp_path / "other.json")
    assert run_cli("compare", base, slow, other, *RULES).returncode == 3
    assert run_cli("compare", base, base, other, *RULES).returncode == 5
    assert run_cli("compare", base, other, *RULES).returncode == 5


def test_an_unknown_rule_is_exit_code_2(run_cli: RunCli, saved: Saved) -> None:
    base = saved("base")
    done = run_cli("compare", base, base, "--fail-on", "speed:5%")
    assert (done.returncode, done.stdout) == (2, "")
    assert "rule 'speed:5%': unknown" in done.stderr
    assert "throughput (samples_per_s)" in done.stderr


def test_csv_and_markdown_hold_the_findings(run_cli: RunCli, saved: Saved) -> None:
    base, slow = saved("base"), saved("slow", rate=800.0)
    rows = list(csv.DictReader(io.StringIO(run_cli("compare", base, slow, *RULES, "--format", "csv").stdout)))
    message = {(row["quantity"], row["network"]): row["gate"] for row in rows if row["depth"] == "all"}
    assert message == {
        ("final_train_loss", "densenet"): "loss:worse pass",
        ("samples_per_s", "densenet"): "throughput:5% fail",
        ("peak_memory_bytes", "densenet"): "",
        ("failed", "densenet"): "failed pass",
    }
    assert {row["gate"] for row in rows if row["depth"] != "all"} == {""}
    assert {len(row) for row in rows} == {23}
    text = run_cli("compare", base, slow, *RULES, "--format", "markdown").stdout
    assert text.startswith("**Gate: fail**")
    assert "| throughput:5% | densenet | 2, 4 | 1.250 [1.250, 1.250] | &lt;0.001 | fail |" in text


def test_several_candidates_are_told_apart(run_cli: RunCli, saved: Saved) -> None:
    base, slow, noisy = saved("base"), saved("slow", rate=800.0), saved("noisy", (0.8, 1.0, 1.3))
    done = run_cli("compare", base, slow, noisy, "--fail-on", "throughput:5%")
    assert "fail: throughput:5% of densenet at L = 2, 4 in slow, 2026-11-20 12:00 UTC: degradation 1.250" in done.stderr
    assert (
        "pass: throughput:5% of densenet at L = 2, 4 in noisy, 2026-11-20 12:00 UTC: degradation 1.000" in done.stderr
    )


def test_candidates_of_one_name_and_minute_are_told_apart_by_their_files(
    run_cli: RunCli, make_profile: MakeProfile, tmp_path: Path
) -> None:
    for name, factor in (("ref", 1.0), ("bad", 1.5), ("good", 1.0)):
        losses = {point: [factor * value for value in values] for point, values in LOSSES.items()}
        save_profile(make_profile(losses, interleaved="ab"), tmp_path / f"{name}.json")
    command = ("compare", "ref.json", "bad.json", "good.json", "--fail-on", "loss:2%", "--format")
    rows = csv.DictReader(io.StringIO((done := run_cli(*command, "csv")).stdout))
    title = "made-up, 2026-11-20 12:00 UTC"
    assert {(row["reference"], row["candidate"], row["gate"]) for row in rows if row["gate"]} == {
        (f"{title} (ref)", f"{title} (bad)", "loss:2% fail"),
        (f"{title} (ref)", f"{title} (good)", "loss:2% pass"),
    }
    assert f"fail: loss:2% of densenet at L = 2, 4 in {title} (bad): degradation 1.5" in done.stderr
    assert f"pass: loss:2% of densenet at L = 2, 4 in {title} (good): degradation 1.0" in done.stderr
    suites = ET.fromstring(run_cli(*command, "junit").stdout)
    assert [suite.get("name") for suite in suites] == [f"{title} (bad)", f"{title} (good)", "gate"]


def test_a_sweep_is_held_to_rules_within_its_profile(run_cli: RunCli, spec_file: Path) -> None:
    sweep = ("run", spec_file, "--executor", "inline", "--quiet", "--json", "--out", "out.json")
    small = ("--set", "train.epochs=1", "--set", "sweep.networks=densenet")
    refused = run_cli(*sweep, "--fail-on", "loss:worse")
    assert refused.returncode == 2
    assert "--fail-on loss:worse: compares two profiles. Add --against" in refused.stderr
    assert run_cli(*sweep, "--detach", "--fail-on", "depth:loss:worse").returncode == 2
    done = run_cli(*sweep, *small, "--fail-on", "depth:loss:0.01%", "--inconclusive", "fail")
    result = json.loads(done.stdout)
    assert [finding["depths"] for finding in result["gate"]["findings"]] == [[1, 2]]
    assert {"pass": 0, "fail": 3, "inconclusive": 4}[result["gate"]["outcome"]] == done.returncode
    assert f"dnlbench: gate: {result['gate']['outcome']}" in done.stderr
    (contrast,) = result["summary"]["contrasts"]
    assert contrast["against"] == {"network": "densenet", "settings": {}, "depth": 1}
    alone = run_cli(*sweep, *small, "--fail-on", "network:loss:worse")
    assert (alone.returncode, json.loads(alone.stdout)["gate"]["outcome"]) == (5, "not comparable")
