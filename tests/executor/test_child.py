"""Child processes without torch: what they print, and what they leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnlbench.executor.child import Child
from dnlbench.machine import Slot

TALKER = """
import subprocess, sys
from dnlbench.runners.answering import open_replies

print("from a library", flush=True)
replies = open_replies()
for line in sys.stdin:
    command = line.strip().strip('"')
    if command == "leave a process behind":
        subprocess.Popen(["sleep", "600"], pass_fds=[replies.fileno()])
    if command == "start a process":
        subprocess.Popen(["sleep", "600"], close_fds=False)
    print(line, end="", file=replies, flush=True)
"""


@pytest.fixture
def talker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: Slot) -> Iterator[Child]:
    """A child of an environment that prints whenever Python starts."""
    (tmp_path / "talker.py").write_text(TALKER)
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(1, b'welcome'); os.write(2, b'deprecated')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (tmp_path / "log").open("wb") as log:
        child = Child("talker", slot=slot, log=log)
    yield child
    child.end()


def reply(child: Child) -> bytes:
    """What has come in; nothing once all who could write have closed the pipe."""
    return os.read(child.replies, 1000)


def test_what_a_process_prints_does_not_get_between_its_replies(talker: Child, tmp_path: Path) -> None:
    talker.send({"a": 1})
    assert reply(talker) == b'{"a": 1}\n'
    assert (tmp_path / "log").read_bytes() == b"welcomedeprecatedfrom a library\n"


def test_what_a_process_leaves_behind_ends_when_its_own_end_is_noticed(talker: Child) -> None:
    talker.send("leave a process behind")
    reply(talker)
    talker.close_input()
    assert talker.process.wait() == 0  # not by the child, which has not noticed yet
    assert talker.poll() == 0
    assert reply(talker) == b"", "the process that was left behind has the pipe open as long as it lives"


def test_what_a_process_starts_does_not_have_its_pipe(talker: Child) -> None:
    talker.send("start a process")
    reply(talker)
    talker.close_input()
    assert talker.process.wait() == 0
    assert reply(talker) == b""


def test_the_group_of_a_process_that_was_waited_for_is_left_alone(
    talker: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker.close_input()
    assert talker.wait() == 0
    monkeypatch.delattr(os, "killpg")  # its number may be another process's by now
    talker.kill()
