"""One engine a run directory, whatever happens to its files while it works."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnlbench.errors import RunDirError, RunDirLostError
from dnlbench.store import RunDir
from dnlbench.store.engine_lock import EngineLock

HERE = str(os.getpid())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rd"


@pytest.fixture
def lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineLock]:
    """Of an engine at work; another one does not wait for it."""
    monkeypatch.setattr("dnlbench.store.engine_lock.LOCK_TIMEOUT_S", 0.0)
    with RunDir(root).locked() as held:
        journal = RunDir(root).journal_writer()
        yield held
        journal.close()


def begin_another(root: Path) -> None:
    with RunDir(root).locked():
        pass


@pytest.mark.parametrize("removed", [[], ["engine.lock"]])
def test_another_engine_is_refused_whether_the_file_is_there_or_not(
    lock: EngineLock, root: Path, removed: list[str]
) -> None:
    for name in removed:
        (root / name).unlink()
    assert RunDir(root).engine() == HERE
    with pytest.raises(RunDirError, match=f"in use by another engine, process {HERE}"):
        begin_another(root)
    assert RunDir(root).engine() == HERE
    lock.check()


@pytest.mark.parametrize("removed", [["engine.lock"], ["engine.pid"], ["engine.lock", "engine.pid"]])
def test_an_engine_whose_files_were_removed_locks_the_directory_again(
    lock: EngineLock, root: Path, removed: list[str]
) -> None:
    for name in removed:
        (root / name).unlink()
    lock.check()
    assert (root / "engine.pid").read_text() == f"{HERE}\n"
    assert not EngineLock(root)._try_lock()


def test_a_process_that_is_not_the_engine_does_not_block(root: Path) -> None:
    root.mkdir()
    (root / "engine.pid").write_text(HERE)  # of an engine that was killed, and whose number is another process's now
    assert RunDir(root).engine() is None
    begin_another(root)


def test_an_engine_stops_if_another_one_has_taken_over(lock: EngineLock, root: Path) -> None:
    for name in ("engine.lock", "engine.pid"):
        (root / name).write_text("12345\n")
    (root / "control.jsonl").touch()
    with pytest.raises(RunDirLostError, match=r"rd: another engine, process 12345, took over this directory after"):
        lock.check()
    lock.release()
    assert (root / "engine.pid").read_text() == "12345\n"


def test_a_run_directory_that_was_removed(lock: EngineLock, root: Path) -> None:
    shutil.rmtree(root)
    with pytest.raises(RunDirLostError, match=r"The run directory .*rd was removed while the sweep was running\.$"):
        lock.check()
    (root / "runs").mkdir(parents=True)  # as by a worker that keeps a checkpoint
    with pytest.raises(RunDirLostError, match="was removed"):
        lock.check()
    assert not (root / "engine.pid").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not say where an open folder is")
def test_a_run_directory_that_was_renamed(lock: EngineLock, root: Path) -> None:
    root.rename(root.with_name("moved"))
    with pytest.raises(RunDirLostError, match=r"was renamed to .*moved while .* with --resume --run-dir .*/moved$"):
        lock.check()


def test_a_lock_file_that_cannot_be_created_is_reported(root: Path) -> None:
    (root / "engine.lock").mkdir(parents=True)
    with pytest.raises(RunDirError, match=r"^Could not lock .*rd/engine.lock: is a directory. Choose another"):
        begin_another(root)
