"""The README and the documentation are short, complete and consistent with the program."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from dnlbench.architecture import ARCHITECTURES
from dnlbench.cli.output import ExitCode
from dnlbench.docs import READING_ORDER, read_topic, topics
from dnlbench.spec import list_presets, parse_spec
from dnlbench.studies.training.spec import DataSettings, NetworkSettings, TrainSettings
from tests.docs.pages import API_EXAMPLES, PAGES, ROOT, blocks, read

RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
MOST_WORDS = 1600
MOST_LINES = 200
MOST_COLUMNS = 130


def prose(text: str) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(read("README").split()) < MOST_WORDS


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_starts_with_its_title(name: str) -> None:
    lines = read(name).splitlines()
    assert re.match(r"# \S", lines[0])
    assert name == "README" or len(lines) <= MOST_LINES
    wide = [line for line in prose(read(name)).splitlines() if len(line) > MOST_COLUMNS and not line.startswith("|")]
    assert wide == []


@pytest.mark.parametrize("name", PAGES)
def test_relative_links_resolve(name: str) -> None:
    for target in re.findall(r"\]\((?!\w+:)([^)]+)\)", prose(read(name))):
        file, _, anchor = target.partition("#")
        path = PAGES[name].parent / file if file else PAGES[name]
        assert path.exists(), target
        if anchor:
            assert anchor in _anchors(path), target


def _anchors(path: Path) -> set[str]:
    """Return the anchors that a code host gives to headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_links_to_every_page() -> None:
    assert set(topics()) <= set(re.findall(r"\(dnlbench/docs/([\w-]+)\.md\)", read("README")))


@pytest.mark.parametrize("command", ["run", "test"])
def test_each_command_of_the_contract_is_one_line(command: str) -> None:
    (block,) = (block for block in blocks(read("README")) if block.comment == f"command: {command}")
    assert len(block.text.splitlines()) == 1


@pytest.mark.parametrize(
    "path", sorted({*(ROOT / "examples").glob("*.*")} - {*API_EXAMPLES}), ids=lambda path: path.name
)
def test_examples_are_the_files_of_the_pages(path: Path) -> None:
    if path.suffix == ".svg":
        assert path.stat().st_size < 120_000
        assert f"examples/{path.name}" in read("README")
    else:
        files = {Path(block.file).name: block.text for name in PAGES for block in blocks(read(name)) if block.file}
        assert path.read_text(encoding="utf-8") == files[path.name]


def test_docs_lists_every_page(run_cli: RunCli) -> None:
    assert tuple(topics()) == READING_ORDER
    done = run_cli("docs")
    assert done.returncode == 0
    for name, title in topics().items():
        assert re.search(rf"^{name} +{re.escape(title)}$", done.stdout, re.MULTILINE)


def test_docs_prints_a_page_as_it_is_where_there_is_no_terminal(run_cli: RunCli) -> None:
    assert run_cli("docs", "running").stdout == read_topic("running")


def test_docs_as_json(run_cli: RunCli) -> None:
    listed = json.loads(run_cli("docs", "--json").stdout)
    assert {entry["topic"]: entry["title"] for entry in listed["topics"]} == topics()
    page = json.loads(run_cli("docs", "data", "--json").stdout)
    assert page == {"topic": "data", "title": topics()["data"], "text": read_topic("data")}


def test_an_unknown_topic_names_the_nearest(run_cli: RunCli) -> None:
    done = run_cli("docs", "runing")
    assert done.returncode == ExitCode.USAGE
    assert "did you mean 'running'?" in done.stderr


def test_the_pages_name_every_network_preset_and_exit_code() -> None:
    for name in ARCHITECTURES:
        assert f"| `{name}` |" in read("networks")
    for preset in list_presets():
        assert f"`{preset.name}`" in read("spec")
    for code in ExitCode:
        assert f"| {code:d} |" in read("troubleshooting")


@pytest.mark.parametrize("model", [NetworkSettings, DataSettings, TrainSettings])
def test_the_spec_page_names_every_key(model: type[BaseModel]) -> None:
    for key in model.model_fields:
        assert f"| `{key}` |" in read("spec")


@pytest.mark.parametrize("name", PAGES)
def test_specs_on_a_page_are_valid(name: str) -> None:
    for block in blocks(read(name)):
        if block.language == "toml" and "[sweep]" in block.text:
            parse_spec(block.text, name)


def test_the_keys_of_the_settings_example_have_their_names() -> None:
    from dnlbench.tui.app import binding_names

    (config,) = (
        block.text for block in blocks(read("terminal-ui")) if block.language == "toml" and "[keys]" in block.text
    )
    names = re.findall(r'"([a-z_.]+)" = "', config)
    assert names
    assert set(names) <= binding_names()


def test_the_screen_on_the_page_of_the_terminal_ui_is_the_one_that_is_shown() -> None:
    screens = [block.text for block in blocks(read("terminal-ui")) if block.language == "text"]
    assert (ROOT / "tests" / "golden" / "tui" / "sweep-80x24.txt").read_text() in screens
