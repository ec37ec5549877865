"""Two networks at equal depth, of two profiles or of one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.comparison import compare
from dnlbench.errors import NotComparableError
from dnlbench.profiles import Profile, save_profile

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
DENSE = {("densenet", 2): [0.40, 0.44, 0.42], ("densenet", 4): [0.2, 0.23, 0.205]}
RES = {("resnet", 2): [0.80, 0.86, 0.83], ("resnet", 8): [0.6, 0.63, 0.605]}


def test_two_networks_are_compared_at_equal_depth(make_profile: MakeProfile) -> None:
    found = compare(make_profile(DENSE), make_profile(RES), match="depth")
    loss = found.cells[0]
    assert (loss.network, loss.depth, loss.paired, loss.verdict) == ("resnet / densenet", 2, True, "worse")
    assert loss.ratio is not None
    assert loss.ratio.estimate == pytest.approx((0.8 * 0.86 * 0.83 / 0.4 / 0.44 / 0.42) ** (1 / 3))
    assert found.missing == (("resnet / densenet", 4),)
    assert found.unfinished == tuple(("resnet / densenet", 4, seed) for seed in range(3))


def test_a_new_failure_has_the_name_of_its_row(make_profile: MakeProfile) -> None:
    res = make_profile(RES)
    runs = (res.runs[0].model_copy(update={"status": "diverged"}), *res.runs[1:])
    found = compare(make_profile(DENSE), res.model_copy(update={"runs": runs}), match="depth")
    assert [(run.network, run.depth, run.seed) for run in found.new_failures] == [("resnet / densenet", 2, 0)]


def test_one_profile_with_two_networks(make_profile: MakeProfile) -> None:
    both = make_profile({**DENSE, **RES})
    pair = compare(both, both, match="depth", networks=("densenet", "resnet"))
    apart = compare(make_profile(DENSE), make_profile(RES), match="depth")
    assert [cell.ratio for cell in pair.cells] == [cell.ratio for cell in apart.cells]
    with pytest.raises(NotComparableError, match="--networks densenet,resnet"):
        compare(both, both, match="depth")
    with pytest.raises(NotComparableError, match="the candidate has no network 'plain': it has densenet, resnet"):
        compare(both, both, match="depth", networks=("densenet", "plain"))


def test_the_default_names_the_option_where_depths_are_common(make_profile: MakeProfile) -> None:
    with pytest.raises(NotComparableError, match="dnlbench compare --match depth compares two networks at equal depth"):
        compare(make_profile(DENSE), make_profile(RES))
    other = make_profile({("resnet", 16): [0.8, 0.9]})
    with pytest.raises(NotComparableError, match=r"densenet L=4 and resnet L=16$"):
        compare(make_profile(DENSE), other)
    with pytest.raises(NotComparableError, match="no depth in common: L=2, 4 and L=16"):
        compare(make_profile(DENSE), other, match="depth")


def test_on_the_command_line(make_profile: MakeProfile, tmp_path: Path, run_cli: RunCli) -> None:
    path = save_profile(make_profile({**DENSE, **RES}), tmp_path / "both.json")
    done = run_cli("compare", path, path, "--match", "depth", "--networks", "densenet,resnet")
    assert done.returncode == 0
    assert "resnet / densenet" in done.stdout
    assert "networks differ (candidate / reference)" in done.stdout
    for option in (["--networks", "densenet,resnet"], ["--match", "depth", "--networks", "densenet"]):
        refused = run_cli("compare", path, path, *option)
        assert refused.returncode == 2
        assert "--networks" in refused.stderr
