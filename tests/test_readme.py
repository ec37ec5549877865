"""What the README and the reference profiles say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from dnlbench.architecture import ARCHITECTURES
from dnlbench.cli.output import ExitCode
from dnlbench.profiles import check_profile, read_profile
from dnlbench.spec import list_presets, parse_spec
from dnlbench.studies.training.spec import DataSettings, NetworkSettings, TrainSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEC = next(block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[sweep]" in block)


def test_the_spec_of_the_readme_is_valid_and_shows_the_defaults() -> None:
    spec = parse_spec(SPEC, "README.md")
    for section, model in (("network", NetworkSettings), ("data", DataSettings), ("train", TrainSettings)):
        assert getattr(spec, section) == model()


@pytest.mark.parametrize("model", [NetworkSettings, DataSettings, TrainSettings])
def test_the_readme_names_every_key(model: type[BaseModel]) -> None:
    for key in model.model_fields:
        assert re.search(rf"\b{key}\b", SPEC), key


def test_the_readme_names_every_network_preset_and_exit_code() -> None:
    for name in [*ARCHITECTURES, *(preset.name for preset in list_presets())]:
        assert f"`{name}`" in README
    for code in (ExitCode.OK, ExitCode.FAILED, ExitCode.USAGE, ExitCode.NOT_COMPARABLE, ExitCode.INTERRUPTED):
        assert f"| {code:d} |" in README


@pytest.mark.parametrize("command", ["run", "test"])
def test_each_command_is_one_line_after_its_comment(command: str) -> None:
    found = re.search(rf"<!-- command: {command} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert len(found[1].splitlines()) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.json")), ids=lambda path: path.name)
def test_reference_profiles_are_sound(path: Path) -> None:
    profile = read_profile(path)
    assert check_profile(profile) == []
    assert profile.state == "complete"
    assert {run.status for run in profile.runs} == {"ok"}


def test_the_keys_of_the_readme_have_their_names() -> None:
    from dnlbench.tui.app import binding_names

    (config,) = (block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[keys]" in block)
    names = re.findall(r'"([a-z_.]+)" = "', config)
    assert names
    assert set(names) <= binding_names()


def test_the_screen_of_the_readme_is_the_one_that_is_shown() -> None:
    (screen,) = (block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "samples/s" in block)
    assert screen == (ROOT / "tests" / "golden" / "tui" / "sweep-80x24.txt").read_text()
