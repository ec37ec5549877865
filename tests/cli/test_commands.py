"""Every command as a user runs it, except those that train."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator
from rich.text import Text

from dnlbench import cli
from dnlbench.cli.complete import COMPARISON_FORMATS, PROFILE_FORMATS
from dnlbench.cli.output import guarded
from dnlbench.cli.signals import REQUESTS_TO_END, graceful
from dnlbench.docs import read_topic, topics
from dnlbench.escape import terminal
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, save_profile
from dnlbench.report.console import console
from dnlbench.spec import list_presets
from dnlbench.store import Execution, RunDir
from tests.conftest import MACHINE, TINY

MakeProfile = Callable[..., Profile]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
LOSSES = {("densenet", 2): [0.30, 0.40, 0.50], ("densenet", 4): [0.20, 0.21, 0.22]}


@pytest.fixture
def profiles(tmp_path: Path, make_profile: MakeProfile) -> tuple[Path, Path]:
    better = {point: [0.8 * loss for loss in values] for point, values in LOSSES.items()}
    return (
        save_profile(make_profile(LOSSES), tmp_path / "profiles" / "a.json"),
        save_profile(make_profile(better, rate=900.0), tmp_path / "profiles" / "b.json"),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plot", "--help"],
        ["compare", "profiles/a.json", "profiles/b.json"],
        ["compare", "profiles/a.json", "profiles/b.json", "--format", "html"],
        ["profiles", "list"],
        ["profiles", "show", "profiles/a.json", "--format", "html"],
        ["profiles", "show", "profiles/a.json"],
        ["profiles", "validate", "profiles/a.json"],
        ["presets", "list"],
        ["presets", "show", "stability"],
        ["devices"],
        ["schema", "spec"],
        ["schema", "profile"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("profiles")
def test_commands_that_do_not_train_do_not_import_torch(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom dnlbench.cli.app import main\nsys.argv = ['dnlbench', *sys.argv[1:]]\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'ray', 'matplotlib'} & sys.modules.keys()\n"
        "heavy -= {'matplotlib'} if 'html' in sys.argv else set()  # which draws the page's pictures\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_ray_is_asked_for_by_name_where_it_is_not_installed(
    run_process: RunCli, spec_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "ray.py").write_text("raise ModuleNotFoundError(name='ray')")
    done = run_process("run", spec_file, "--executor", "ray", PYTHONPATH=str(tmp_path / "hiding"))
    assert done.returncode == 2
    assert "pip install 'dnlbench[ray]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".dnlbench").exists()


def test_without_a_command_it_names_one(run_cli: RunCli) -> None:
    done = run_cli()
    assert done.returncode == 2
    assert "dnlbench run" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("option", ["--jobs", "--threads", "--pack"])
@pytest.mark.parametrize("number", ["4097", "20261130"])
def test_numbers_that_can_only_be_a_slip_are_refused(
    run_cli: RunCli, spec_file: Path, tmp_path: Path, option: str, number: str
) -> None:
    done = run_cli("run", spec_file, option, number)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dnlbench: error: {option} {number}: ")
    assert " a number from 1 to 4096" in done.stderr.replace("whole ", "")
    assert not (tmp_path / ".dnlbench").exists()


def check_golden(name: str, text: str) -> None:
    """Compare a text with a golden file, or write the file if ``UPDATE_GOLDEN`` is set."""
    path = Path(__file__).parent.parent / "golden" / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs; look at both, then run with UPDATE_GOLDEN=1"


def test_compare_as_a_table(run_cli: RunCli, profiles: tuple[Path, Path]) -> None:
    done = run_cli("compare", *profiles)
    assert done.returncode == 0
    check_golden("compare.txt", done.stdout)


def test_compare_as_markdown(run_cli: RunCli, profiles: tuple[Path, Path]) -> None:
    done = run_cli("compare", *profiles, "--format", "markdown", "-o", "out/x.md")
    assert (done.returncode, done.stdout) == (0, "")
    result = (profiles[0].parent.parent / "out" / "x.md").read_text()
    check_golden("compare.md", result)


def test_compare_as_csv(run_cli: RunCli, profiles: tuple[Path, Path]) -> None:
    rows = list(csv.DictReader(io.StringIO(run_cli("compare", *profiles, "--format", "csv").stdout)))
    assert [(r["quantity"], r["depth"], r["verdict"]) for r in rows[:2]] == [
        ("final_train_loss", "2", "better"),
        ("final_train_loss", "4", "better"),
    ]
    assert float(rows[0]["ratio_estimate"]) == pytest.approx(0.8)
    assert float(rows[0]["reference_estimate"]) == pytest.approx(0.4)


def test_compare_as_json(run_cli: RunCli, profiles: tuple[Path, Path]) -> None:
    content = json.loads(run_cli("compare", *profiles, profiles[0], "--format", "json").stdout)
    first, second = content["comparisons"]
    assert first["counts"] == {"better": 2, "not comparable": 2, "no difference": 2}
    assert first["cells"][0]["ratio"]["estimate"] == pytest.approx(0.8)
    assert first["cells"][0]["ratios"] == [[seed, pytest.approx(0.8)] for seed in range(3)]
    assert [(figure["quantity"], figure["verdict"]) for figure in first["overall"]] == [
        ("final_train_loss", "better"),
        ("samples_per_s", "not comparable"),
        ("peak_memory_bytes", "no difference"),
    ]
    assert "gate" not in content
    assert second["cells"][0]["verdict"] == "no difference"


def test_nothing_in_common_is_exit_code_5(
    run_cli: RunCli, profiles: tuple[Path, Path], make_profile: MakeProfile
) -> None:
    other = save_profile(make_profile({("plain", 2): [0.1, 0.2]}), profiles[0].parent / "c.json")
    done = run_cli("compare", profiles[0], other)
    assert done.returncode == 5
    assert "no network and depth in common" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["compare", "show", "validate"])
@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ('{"schema": "dnlbench.profile/7"}', "newer dnlbench"), (None, "No such file")],
)
def test_what_is_no_profile_is_exit_code_2(
    run_cli: RunCli, tmp_path: Path, command: str, content: str | None, message: str
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    arguments = ["compare", path, path] if command == "compare" else ["profiles", command, path]
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert f"{path}" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_profiles_are_listed_and_shown(run_cli: RunCli, profiles: tuple[Path, Path]) -> None:
    (profiles[0].parent / "broken.json").write_text("[]")
    listed = run_cli("profiles", "list").stdout
    assert "3 profiles in profiles" in listed
    assert "profiles/broken.json  not readable" in listed
    assert "6 of 6" in listed
    shown = run_cli("profiles", "show", profiles[0]).stdout
    assert "machine: A CPU; 2 cores; Linux 6; Python 3.12.1, torch 2.11.0" in shown
    assert "0.40 [0.21, 0.74]" in shown
    rows = list(csv.DictReader(io.StringIO(run_cli("profiles", "show", profiles[0], "--format", "csv").stdout)))
    assert len(rows) == 6
    assert float(rows[1]["train_loss"]) == 0.40
    content = json.loads(run_cli("profiles", "show", profiles[0], "--format", "json").stdout)
    assert content == json.loads(profiles[0].read_text())
    assert "| densenet | 2 | 3 |" in run_cli("profiles", "show", profiles[0], "--format", "markdown").stdout


def test_a_list_says_what_differs_between_profiles_of_one_sweep(
    run_cli: RunCli, tmp_path: Path, make_profile: MakeProfile
) -> None:
    for number, rate in enumerate((0.01, 0.03, 0.1)):
        profile = make_profile({("densenet", 2): [0.3]})
        spec = {**profile.spec, "train": {**profile.spec["train"], "lr": rate}}
        save_profile(profile.model_copy(update={"spec": spec}), tmp_path / "profiles" / f"{number}.json")
    lines = run_cli("profiles", "list").stdout.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("profiles/")] == [
        "train.lr=0.01",
        "train.lr=0.03",
        "train.lr=0.1",
    ]


def test_an_empty_folder_is_no_error(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run_cli("profiles", "list", "empty").returncode == 0
    done = run_cli("profiles", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no profiles in profiles" in done.stderr


def test_a_folder_that_is_not_there_is_exit_code_2(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, problem in (("nowhere", "no such folder"), ("file", "not a folder")):
        done = run_cli("profiles", "list", name)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"dnlbench: error: {name}: {problem}\n")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["export", "x.json"], "`dnlbench profiles export`"),
        (["show"], "`dnlbench profiles show` or `dnlbench presets show`"),
        (["validate"], "`dnlbench profiles validate`"),
        (["profiles", "plot"], "`dnlbench plot`"),
        (["compair"], "`dnlbench compare`"),
    ],
)
def test_a_command_of_another_group_is_named(run_cli: RunCli, arguments: list[str], meant: str) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith(f"Did you mean {meant}?\n")


def test_settings_that_nothing_reads_are_named(run_cli: RunCli, spec_file: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('device = "cuda"\n[data]\nroot = "x"\n')
    done = run_cli("run", spec_file, "--set", "zzz=1", DNLBENCH_CONFIG=str(tmp_path / "config.toml"))
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert warnings == [
        f"dnlbench: warning: {tmp_path}/config.toml: {name}: no such setting; "
        "allowed: theme and [keys], for the terminal UI"
        for name in ("device", "data")
    ]


def test_one_profile_is_counted_as_one(run_cli: RunCli, tmp_path: Path, make_profile: MakeProfile) -> None:
    save_profile(make_profile({("densenet", 2): [0.3]}), tmp_path / "profiles" / "a.json")
    listed = run_cli("profiles", "list").stdout
    assert "1 profile in profiles" in listed
    assert "settings that differ" not in listed


def test_a_preset_is_printed_as_a_spec_that_runs(run_cli: RunCli, tmp_path: Path) -> None:
    text = run_cli("presets", "show", "digits-quick").stdout
    (tmp_path / "mine.toml").write_text(text)
    done = run_cli("run", "mine.toml", "--set", "train.epochs=0")
    assert done.returncode == 2
    assert "--set train.epochs=0: train.epochs = 0: must be greater than or equal to 1" in done.stderr
    done = run_cli("presets", "show", "nothing")
    assert done.returncode == 2
    assert "Presets: digits-quick" in done.stderr


def test_schemas_are_json_schema_and_describe_what_is_written(run_cli: RunCli) -> None:
    profile = json.loads(run_cli("schema", "profile").stdout)
    assert profile["properties"]["schema"]["const"] == "dnlbench.profile/2"
    Draft202012Validator.check_schema(profile)


def test_the_schema_of_specs_accepts_what_is_accepted_and_refuses_misspelt_keys(run_cli: RunCli) -> None:
    schema = json.loads(run_cli("schema", "spec").stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    pages = "".join(map(read_topic, topics()))
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", pages, re.DOTALL) if "[sweep]" in block]
    assert blocks
    for text in [*blocks, *(preset.text for preset in list_presets())]:
        spec = tomllib.loads(text)
        validator.validate(spec)
        for seeds in (5, [0, 7]):
            validator.validate({**spec, "sweep": {**spec["sweep"], "seeds": seeds}})
        for wrong in (0, 10_001, [], "5", [-1]):
            assert not validator.is_valid({**spec, "sweep": {**spec["sweep"], "seeds": wrong}}), wrong
        assert not validator.is_valid({**spec, "trian": {}})
        assert not validator.is_valid({**spec, "train": {"epohcs": 3}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.toml"], "nothing.toml: no such file, and no preset with this name"),
        (["run", "digits-quick", "--device", "cuda"], "--device cuda: this machine has no such device"),
        (["run", "digits-quick", "--device", "tpu"], "write auto, cpu, mps, cuda"),
        (["run", "digits-quick", "--resume", "--run-dir", "nowhere"], "--resume: nowhere: no sweep to resume"),
        (
            ["run", "digits-quick", "--executor", "inline", "--jobs", "2"],
            "inline executor runs one job at a time, not 2",
        ),
        (["run", "digits-quick", "--run-dir", "/dev/null"], "/dev/null: cannot be a run directory: File exists"),
        (["run", "digits-quick", "--out", "."], "is a folder; name a file in it"),
        (["run", "digits-quick", "--jobs", "0"], "--jobs"),
        (["run"], "SPEC"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_exit_code_2(run_cli: RunCli, arguments: list[str], message: str) -> None:
    done = run_cli(*arguments, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_run_directory_that_is_removed_is_told_to_who_follows_it(
    run_cli: RunCli, tmp_path: Path, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")
    RunDir(tmp_path / "rd").begin(make_plan(), how)
    monkeypatch.setattr(RunDir, "engine", lambda run_dir: shutil.rmtree(run_dir.root))
    done = run_cli("attach", "rd", "--plain")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "dnlbench: error: The run directory rd was removed or renamed while the sweep was running.\n"
    )


# Requests to end


@pytest.mark.parametrize("number", REQUESTS_TO_END, ids=lambda number: signal.Signals(number).name)
def test_a_request_to_end_is_an_interrupt_and_an_interrupt_is_130(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(request) for request in REQUESTS_TO_END]

    @guarded
    def command() -> None:
        with graceful():
            signal.raise_signal(number)

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "dnlbench: interrupted\n"
    assert [signal.getsignal(request) for request in REQUESTS_TO_END] == before


def test_a_spent_processor_limit_is_told_once() -> None:
    """The system repeats SIGXCPU every second, which must not count as a second interrupt."""
    with graceful():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGXCPU)
        signal.raise_signal(signal.SIGXCPU)


@pytest.mark.parametrize(
    ("measures", "arguments"),
    [
        ("dnlbench.engine.run.run_sweep", ["run", "tiny.toml"]),
        ("dnlbench.engine.launch.launch", ["run", "tiny.toml", "--detach"]),
        ("dnlbench.engine.tuning.tune", ["tune", "tiny.toml"]),
        ("dnlbench.paired.session.run_session", ["run", "tiny.toml", "--against-set", "train.lr=0.5"]),
        ("dnlbench.paired.calibration.calibrate", ["calibrate"]),
        ("dnlbench.diagnosis.diagnose", ["diagnose", "profiles/a.json"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("profiles", "spec_file")
def test_every_command_that_works_for_long_can_be_asked_to_end(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch, measures: str, arguments: list[str]
) -> None:
    def work(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr(measures, work)
    assert run_cli(*arguments).returncode == 130


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["compare", "profiles/a.json", "profiles/b.json", "-o"], "profiles/a.json"),
        (["compare", "profiles/a.json", "profiles/b.json", "-o"], "profiles/b.json"),
        (["profiles", "show", "profiles/b.json", "--format", "csv", "-o"], "profiles/b.json"),
        (["profiles", "export", "profiles/a.json", "--format", "csv", "-o"], "profiles/a.json"),
        (["profiles", "export", "profiles/a.json", "--format", "jsonl", "-o"], "link.json"),
        (["plot", "profiles/a.json", "-o"], "hard.svg"),
        (["diagnose", "profiles/a.json", "-o"], "profiles/a.json"),
        (["diagnose", "profiles/a.json", "-o"], "profiles/a.weights/x.pt"),
        (["diagnose", "rd", "-o"], "rd/sweep.json"),
        (["run", "tiny.toml", "--out"], "tiny.toml"),
        (["run", "tiny.toml", "--run-dir", "new", "--out"], "new/sweep.json"),
        (["run", "tiny.toml", "--detach", "--out"], "tiny.toml"),
        (["run", "tiny.toml", "--against-set", "train.lr=0.2", "--out-base"], "tiny.toml"),
        (["run", "tiny.toml", "--out"], "notes.md"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_output_takes_the_place_of_an_input(
    run_cli: RunCli, profiles: tuple[Path, Path], spec_file: Path, tmp_path: Path, arguments: list[str], output: str
) -> None:
    (tmp_path / "link.json").symlink_to(profiles[0])
    (tmp_path / "hard.svg").hardlink_to(profiles[0])
    (tmp_path / "notes.md").write_text("a day's work")
    (tmp_path / "rd").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run_cli(*arguments, output)
    assert done.returncode == 2, done.stdout
    assert re.search(
        rf"{output}: (would overwrite .*, which this command uses|exists and is not a profile)", done.stderr
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x9b31m\u202ex=\x7f\r"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["profiles", "show", "e.json", "--format", name] for name in PROFILE_FORMATS),
        *(["compare", "e.json", "e.json", "--format", name] for name in COMPARISON_FORMATS),
        ["compare", "e.json", "profiles/a.json"],
        ["profiles", "list", "."],
        ["profiles", "validate", "e.json", "wrong.json", f"{HOSTILE}.json"],
        ["profiles", "show", "wrong.json"],
        ["plot", "e.json", "-o", f"{HOSTILE}/x.svg", "--kind", HOSTILE],
        ["run", "hostile.toml"],
        ["run", "tiny.toml", "--set", f"{HOSTILE}=1"],
        ["run", "tiny.toml", "--set", f"sweep.networks=['{HOSTILE}']"],
        ["attach", f"rd{HOSTILE}", "--plain"],
        ["presets", "show", HOSTILE],
        ["diagnose", HOSTILE],
    ],
    ids=lambda arguments: " ".join(arguments[:4]).replace(HOSTILE, "*"),
)
def test_no_text_from_files_steers_the_terminal(
    run_cli: RunCli, make_profile: MakeProfile, spec_file: Path, tmp_path: Path, arguments: list[str]
) -> None:
    save_profile(make_profile(LOSSES), tmp_path / "profiles" / "a.json")
    runs = {(HOSTILE, depth): values for (_, depth), values in LOSSES.items()}
    hostile = make_profile(runs, name=HOSTILE, machine=MACHINE.model_copy(update={"cpu": HOSTILE}))
    save_profile(hostile, tmp_path / "e.json")
    (tmp_path / "wrong.json").write_text(json.dumps({"schema": "dnlbench.profile/1", "study": HOSTILE}))
    (tmp_path / "hostile.toml").write_text(f"'a{HOSTILE[-3:-1]}' = 1\n" + TINY)
    done = run_cli(*arguments)
    assert done.stdout + done.stderr
    assert not STEERS.search(done.stdout + done.stderr)
    if "json" in arguments:
        assert repr(HOSTILE)[1:-1] in str(json.loads(done.stdout))


def test_a_terminal_of_colours_gets_them_and_nothing_else() -> None:
    file = io.StringIO()
    out = console(file)
    assert "\x1b" not in terminal(HOSTILE)
    forced = type(out)(file=file, force_terminal=True, color_system="standard", width=200)
    forced.print(Text("a\x1b]0;b\nline", style="red"))
    assert file.getvalue() == "\x1b[31ma\\x1b]0;b\x1b[0m\n\x1b[31mline\x1b[0m\n"


def test_commands_print_through_their_outlet_alone() -> None:
    for path in Path(cli.__file__).parent.glob("*.py"):
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert path.name == "output.py" or not {"print", "typer.echo", "sys.stdout.write"} & set(calls), path


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&-", "2>&-", "| true"])
def test_closed_streams_change_no_exit_code(
    tmp_path: Path, make_profile: MakeProfile, profiles: tuple[Path, Path], closed: str
) -> None:
    worse = make_profile({point: [2 * loss for loss in values] for point, values in LOSSES.items()})
    save_profile(worse, tmp_path / "worse.json")
    for other, code in (("profiles/b.json", 0), ("worse.json", 3)):
        command = f"{sys.executable} -m dnlbench compare profiles/a.json {other} --fail-on loss:worse {closed}"
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


def test_a_current_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m dnlbench presets list"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "dnlbench: error: the current folder no longer exists. Change to another folder and try again"
    )
