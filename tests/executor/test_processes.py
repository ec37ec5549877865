"""JsonLinesProcess processes without torch: what they print, and what they leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnlbench.executor.processes import JsonLinesProcess
from dnlbench.machine import Slot

TALKER = """
import subprocess
from dnlbench.executor.processes import Parent

print("from a library", flush=True)
parent = Parent()
while True:
    command = parent.receive()
    if command == "leave a process behind":
        subprocess.Popen(["sleep", "600"], pass_fds=[parent._replies.fileno()])
    if command == "start a process":
        subprocess.Popen(["sleep", "600"], close_fds=False)
    parent.send(command)
"""


@pytest.fixture
def talker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: Slot) -> Iterator[JsonLinesProcess]:
    """A child of an environment that prints whenever Python starts."""
    (tmp_path / "talker.py").write_text(TALKER)
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'welcome'); os.write(2, b'deprecated')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (tmp_path / "log").open("wb") as log:
        child = JsonLinesProcess("talker", slot=slot, log=log)
    with child:
        yield child


def reply(child: JsonLinesProcess) -> bytes:
    """What has come in; nothing once all who could write have closed the pipe."""
    return os.read(child.replies, 1000)


def test_what_a_process_prints_does_not_get_between_its_replies(talker: JsonLinesProcess, tmp_path: Path) -> None:
    talker.send({"a": 1})
    assert reply(talker) == b'{"a": 1}\n'
    assert (tmp_path / "log").read_bytes() == b"welcomedeprecatedfrom a library\n"


def test_descendants_of_a_process_are_killed_once_it_has_ended(talker: JsonLinesProcess) -> None:
    talker.send("leave a process behind")
    reply(talker)
    talker.close_input()
    assert talker.process.wait() == 0  # not by the child, which has not noticed yet
    assert talker.poll() == 0
    assert reply(talker) == b"", "the process that was left behind has the pipe open as long as it lives"


def test_what_a_process_starts_does_not_have_its_pipe(talker: JsonLinesProcess) -> None:
    talker.send("start a process")
    reply(talker)
    talker.close_input()
    assert talker.process.wait() == 0
    assert reply(talker) == b""


def test_the_group_of_a_process_that_was_waited_for_is_left_alone(
    talker: JsonLinesProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker.close_input()
    assert talker.wait() == 0
    monkeypatch.delattr(os, "killpg")  # its number may be another process's by now
    talker.kill()
