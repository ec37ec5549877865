"""Every command of the README and the documentation works, in the order of its page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from dnlbench.cli.app import app
from tests.docs.pages import PAGES, Block, blocks, calls, read, table_heads

TRAINING = {"run", "tune", "calibrate", "diagnose", "attach"}
"""Commands that take longer than a moment."""
IMAGES = 200
"""Training images of the digits, which are 1,500. `.ci/run` has no minutes for each of many sweeps."""


def _pages() -> list[Any]:
    """Every page that has something to run; those that train belong to the second ring."""
    params = []
    for name in PAGES:
        commands = [command for block in blocks(read(name)) if block.runs for command in block.commands()]
        trains = any(call[:1] and call[0] in TRAINING for command in commands for call in calls(command))
        trains = trains or any(
            "dnlbench.run(" in block.text for block in blocks(read(name)) if block.language == "python"
        )
        if commands:
            params.append(pytest.param(name, marks=pytest.mark.slow if trains else ()))
    return params


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_is_valid(name: str) -> None:
    for block in blocks(read(name)):
        for command in block.commands():
            for arguments in calls(command):
                _parse(arguments)


def _parse(arguments: list[str]) -> None:
    """Parse a command line without executing it."""
    command: Any = typer.main.get_command(app)
    while getattr(command, "commands", None) and arguments and not arguments[0].startswith("-"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if "--help" not in arguments and "--version" not in arguments:
        command.make_context("dnlbench", list(arguments))


@pytest.mark.parametrize("name", _pages())
def test_the_commands_of_a_page_run_in_its_order(name: str, tmp_path: Path) -> None:
    if name == "README":
        _make_photos(tmp_path / "photos" / "train")
    for block in blocks(read(name)):
        if block.file is not None:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.runs:
            commands = map(_with_few_images, block.commands())
            output = "".join(_execute(["bash", "-ec", command], tmp_path) for command in commands)
            _check_tables(block, output)
            if block.language == "python":
                _execute([sys.executable, "-c", block.text], tmp_path)


def _with_few_images(command: str) -> str:
    """Let sweeps of the digits train on few images. They differ from the page only in how long they take."""
    if "data." in command:
        return command
    return command.replace("dnlbench run digits-quick", f"dnlbench run digits-quick --set data.limit={IMAGES}")


def _execute(command: list[str], folder: Path) -> str:
    """Run a command as in a terminal of 160 columns; return its output with progress and errors."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "TERM": "dumb", "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}"
    return done.stdout


def _check_tables(block: Block, output: str) -> None:
    """Check that the output has tables with the titles and heads of the tables shown."""
    actual = table_heads(output)
    for shown in table_heads(block.text):
        assert any(shown <= head for head in actual), f"no such table: {' '.join(shown)}\n{output}"


def _make_photos(folder: Path) -> None:
    for label, gray in (("dark", 40), ("light", 200)):
        (folder / label).mkdir(parents=True)
        for number in range(16):
            Image.new("L", (20, 20), gray + number).save(folder / label / f"{number}.png")
