"""``dnlbench plot`` as a user runs it, and the chart of ``dnlbench profiles show``."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dnlbench.cli.app import app
from dnlbench.profiles import Profile, save_profile
from dnlbench.studies import STUDIES

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22]}


@pytest.fixture
def profile(tmp_path: Path, make_profile: MakeProfile) -> Path:
    return save_profile(make_profile(LOSSES), tmp_path / "a.json")


Call = Callable[..., Any]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A command in this process and in the test's folder, which takes a tenth of the time."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(("name", "magic"), [("x.svg", b"<?xml"), ("new/x.png", b"\x89PNG"), ("X.PDF", b"%PDF")])
def test_the_ending_names_the_format(call: Call, profile: Path, name: str, magic: bytes) -> None:
    done = call("plot", profile, "-o", name)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (profile.parent / name).read_bytes().startswith(magic)
    assert not list(profile.parent.glob("**/*.tmp"))


def test_what_is_drawn_can_be_chosen(call: Call, profile: Path) -> None:
    options = [
        "--kind",
        "epochs",
        "--kind",
        "depth",
        "--quantity",
        "peak_memory_bytes",
        "--width",
        "column",
        "--linear",
    ]
    done = call("plot", profile, profile, "-o", "x.svg", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    svg = (profile.parent / "x.svg").read_text(encoding="utf-8")
    assert "training loss (nats)" in svg
    assert "peak memory (MiB)" in svg
    assert "throughput" not in svg
    assert 'width="237.6pt"' in svg
    assert "B: made-up, 2026-11-20 12:00 UTC" in svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.gif"], "x.gif: unsupported extension '.gif'; use .svg, .png, .pdf"),
        (["-o", "x"], "x: no extension; use .svg, .png, .pdf"),
        (["-o", "x.svg", "--kind", "pie"], "unknown kind 'pie'; choose from epochs, transfer, depth, cost, budget"),
        (
            ["-o", "x.svg", "--quantity", "loss"],
            "unknown quantity 'loss'; study training measures final_train_loss, ",
        ),
        (["-o", "x.svg", "--kind", "transfer"], "nothing to plot: the sweep has no [tune]"),
        (["-o", "x.svg", "--width", "wide"], "--width 'wide': write column, page or a number of inches"),
        (["-o", "x.svg", "--width", "200"], "width 200: a figure must be 2.5 to 40 inches wide"),
        (["-o", "x.svg", "--width", "nan"], "width nan: a figure must be 2.5 to 40 inches wide"),
        (["-o", "x.svg", "--kind", "depth", "--quantity", "utilisation"], "has a value of utilization"),
        (["b.json", "-o", "x.svg"], "b.json: cannot be read: No such file or directory"),
        (["a.json"] * 6 + ["-o", "x.svg"], "7 profiles: a figure shows at most 6"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_exit_code_2(call: Call, profile: Path, arguments: list[str], message: str) -> None:
    done = call("plot", profile, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert not list(profile.parent.glob("x*"))


def test_a_profile_without_results_is_exit_code_2(call: Call, tmp_path: Path, make_profile: MakeProfile) -> None:
    empty = make_profile({("densenet", 2): [0.1]}, status="failed")
    bare = {"epochs": (), "final_train_loss": None, "samples_per_s": None}
    runs = tuple(run.model_copy(update=bare) for run in empty.runs)
    save_profile(empty.model_copy(update={"runs": runs}), tmp_path / "e.json")
    done = call("plot", "e.json", "-o", "x.svg")
    assert done.exit_code == 2
    assert (
        "nothing to plot: no run finished an epoch; no successful run has a value of final training loss" in done.stderr
    )


def _of_study(profile: Profile, study: str) -> Profile:
    """The profile with the study's name and nothing of what other studies lack."""
    if STUDIES[study].has_epochs:
        return profile.model_copy(update={"study": study})
    runs = tuple(run.model_copy(update={"epochs": ()}) for run in profile.runs)
    summary = profile.summary.model_copy(update={"fits": (), "costs": (), "contrasts": ()})
    return profile.model_copy(update={"study": study, "runs": runs, "summary": summary})


def test_profiles_of_two_studies_are_exit_code_2(call: Call, profile: Path, make_profile: MakeProfile) -> None:
    other = _of_study(make_profile(LOSSES), "forward-limit")
    path = save_profile(other, profile.parent / "f.json")
    done = call("plot", profile, path, "-o", "x.svg")
    assert done.exit_code == 2
    assert "profiles belong to different studies: training, forward-limit" in done.stderr


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_without_epochs_or_costs_says_so(
    call: Call, tmp_path: Path, make_profile: MakeProfile, study: str
) -> None:
    path = save_profile(_of_study(make_profile(LOSSES), study), tmp_path / "s.json")
    done = call("plot", path, "-o", "x.svg", "--kind", "cost")
    if STUDIES[study].costs:
        assert done.exit_code == 0
    else:
        assert done.exit_code == 2
        assert f"nothing to plot: study {study} declares no costs" in done.stderr


def test_drawing_reaches_neither_torch_nor_pyplot(profile: Path) -> None:
    code = (
        "import sys\nfrom dnlbench.cli.app import main\nsys.argv = ['dnlbench', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'sklearn', 'ray', 'textual', 'matplotlib.pyplot', 'tkinter'} & sys.modules.keys()\n"
        "assert not heavy, heavy\nassert 'matplotlib' in sys.modules"
    )
    command = [sys.executable, "-c", code, "plot", str(profile), "-o", str(profile.parent / "x.svg")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def in_terminal(folder: Path, *arguments: str, columns: int = 80, **environment: str) -> str:
    """Return the output of dnlbench in a terminal of this width."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "dnlbench", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
    )
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    os.close(ours)
    assert process.wait() == 0, written.decode()
    return written.decode().replace("\r", "")


def _read(descriptor: int) -> bytes:
    """Empty at the end, which Linux reports as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_a_terminal_shows_a_chart_of_its_width(profile: Path, columns: int) -> None:
    text = in_terminal(profile.parent, "profiles", "show", "a.json", columns=columns, NO_COLOR="1")
    plain = _without_codes(text).splitlines()
    start = next(k for k, line in enumerate(plain) if line.startswith("Final training loss (nats)"))
    chart = plain[start : start + 13]
    assert all(len(line) <= columns for line in chart)
    assert any("●" in line for line in chart)
    assert any(line.endswith("depth L (log)") for line in chart)
    assert "densenet n=3" in chart[-1]
    assert "\x1b[38" not in text  # colours are not wanted


def test_colours_where_they_are_not_forbidden(profile: Path) -> None:
    assert "\x1b[38" in in_terminal(profile.parent, "profiles", "show", "a.json")


def test_one_depth_shows_epochs(tmp_path: Path, make_profile: MakeProfile) -> None:
    made = make_profile({("densenet", 2): [0.3, 0.4]})
    runs = tuple(
        run.model_copy(update={"epochs": (run.epochs[0], run.epochs[0].model_copy(update={"epoch": 2}))})
        for run in made.runs
    )
    save_profile(made.model_copy(update={"runs": runs}), tmp_path / "a.json")
    text = _without_codes(in_terminal(tmp_path, "profiles", "show", "a.json"))
    assert "Training loss (nats)" in text
    assert "epoch" in text


@pytest.mark.parametrize("how", [{"TERM": "dumb"}, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}])
def test_a_terminal_that_cannot_show_one_has_no_chart(profile: Path, how: dict[str, Any]) -> None:
    assert "depth L (log)" not in in_terminal(profile.parent, "profiles", "show", "a.json", **how)


def test_without_a_terminal_there_is_no_chart(run_cli: RunCli, profile: Path) -> None:
    assert "depth L (log)" not in run_cli("profiles", "show", profile).stdout


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)
