"""The scheduler's journal on a disk that is full for a while."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dnlbench.events import DiskFree, DiskFull, EngineEnded, JournalEvent, RunLeased
from dnlbench.executor.scheduler.disk import RESERVE_BYTES, Journal
from dnlbench.files import LineWriter
from dnlbench.store import RunDir

if TYPE_CHECKING:
    from tests.executor.conftest import Lab


@dataclass
class Disk:
    """Takes lines while there is room, or as long as the reserve is given up for them."""

    reserve: Path
    error: int | None = None
    lines_in_reserve: int = 0
    tries: list[bool] = field(default_factory=list)
    """Whether the reserve was still there, for each line that was not taken."""

    def takes_line(self) -> bool:
        if self.error is None:
            return True
        if self.error in (errno.ENOSPC, errno.EDQUOT) and not self.reserve.exists() and self.lines_in_reserve:
            self.lines_in_reserve -= 1
            return True
        self.tries.append(self.reserve.exists())
        return False


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def disk(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, write = Disk(run_dir.reserve_path), LineWriter.write

    def write_if_there_is_room(self: LineWriter, line: str, *, durable: bool = False) -> None:
        if not disk.takes_line():
            assert disk.error is not None
            raise OSError(disk.error, os.strerror(disk.error))
        write(self, line, durable=durable)

    monkeypatch.setattr(LineWriter, "write", write_if_there_is_room)
    return disk


@pytest.fixture
def journal(run_dir: RunDir, disk: Disk) -> Iterator[Journal]:
    journal = Journal(run_dir)
    yield journal
    disk.error = None
    journal.close()


def lease(number: int) -> RunLeased:
    return RunLeased(run_id=f"r{number}", attempt=1, slot="cpu/0", time=float(number))


def leases(first: int, last: int) -> list[JournalEvent]:
    return [lease(number) for number in range(first, last + 1)]


def test_events_are_in_the_file_when_they_are_noted(run_dir: RunDir, journal: Journal) -> None:
    assert run_dir.reserve_path.stat().st_size == RESERVE_BYTES
    for number in range(1, 4):
        journal.note(lease(number))
        assert run_dir.read_journal() == leases(1, number)


def test_events_that_are_noted_together_wait_for_the_disk_once(
    run_dir: RunDir, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[JournalEvent]] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(run_dir.read_journal()))
    journal.note(*leases(1, 5))
    assert synced == [leases(1, 5)]
    journal.note()
    assert synced == [leases(1, 5)]


def test_events_that_are_noted_together_find_room_one_by_one(run_dir: RunDir, disk: Disk, journal: Journal) -> None:
    disk.error, disk.lines_in_reserve = errno.ENOSPC, 2
    journal.note(*leases(1, 5))
    assert run_dir.read_journal() == leases(1, 2), "as many as there is room for"
    disk.error = None
    journal.note(lease(6))
    assert run_dir.read_journal() == leases(1, 6)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_the_reserve_is_given_up_first(run_dir: RunDir, disk: Disk, journal: Journal, error: int) -> None:
    journal.note(lease(1))
    disk.error, disk.lines_in_reserve = error, 2
    journal.note(lease(2))
    assert disk.tries == [True]
    assert not run_dir.reserve_path.exists()
    journal.note(lease(3))
    assert run_dir.read_journal() == leases(1, 3)


def test_without_room_events_wait_in_order(run_dir: RunDir, disk: Disk, journal: Journal) -> None:
    disk.error, disk.lines_in_reserve = errno.ENOSPC, 1
    for number in range(1, 6):
        journal.note(lease(number))
    journal.catch_up()
    assert run_dir.read_journal() == leases(1, 1)
    disk.lines_in_reserve = 2
    journal.catch_up()
    assert run_dir.read_journal() == leases(1, 3), "as many as there is room for"
    disk.error = None
    journal.note(lease(6))
    assert run_dir.read_journal() == leases(1, 6)
    journal.catch_up()
    assert run_dir.read_journal() == leases(1, 6), "each once"


def test_the_reserve_is_taken_back_and_serves_again(run_dir: RunDir, disk: Disk, journal: Journal) -> None:
    for number in (1, 2):
        disk.error, disk.lines_in_reserve = errno.ENOSPC, 1
        journal.note(lease(number))
        assert not run_dir.reserve_path.exists()
        disk.error = None
        journal.restore_reserve()
        assert run_dir.reserve_path.stat().st_size == RESERVE_BYTES
    assert disk.tries == [True, True]
    assert run_dir.read_journal() == leases(1, 2)


def test_a_reserve_for_which_there_is_no_room_is_done_without(
    run_dir: RunDir, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        journal = Journal(run_dir)
    journal.note(lease(1))
    journal.restore_reserve()
    assert run_dir.reserve_path.stat().st_size == RESERVE_BYTES, "it is taken as soon as there is room"
    journal.close()
    assert run_dir.read_journal() == leases(1, 1)


def test_a_journal_that_ends_on_a_full_disk_does_not_fail(run_dir: RunDir, disk: Disk) -> None:
    journal = Journal(run_dir)
    disk.error = errno.ENOSPC
    journal.note(lease(1))
    journal.close()
    assert run_dir.read_journal() == []
    assert not run_dir.reserve_path.exists()


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ESTALE])
def test_other_errors_are_raised(run_dir: RunDir, disk: Disk, journal: Journal, error: int) -> None:
    disk.error = error
    with pytest.raises(OSError, match=os.strerror(error)):
        journal.note(lease(1))
    assert run_dir.reserve_path.exists()


def test_a_line_that_was_written_but_could_not_be_synced_is_there_once(
    run_dir: RunDir, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems find out in `fsync` only that there is no room."""
    full = [True, True]

    def fsync(descriptor: int) -> None:
        if full and full.pop():
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fsync)
    journal.note(lease(1))
    journal.note(lease(2))
    assert run_dir.read_journal() == leases(1, 2)


def test_delayed_journal_events_are_written_in_order_once_there_is_room(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, write = False, LineWriter.write

    def write_if_there_is_room(self: LineWriter, line: str, *, durable: bool = False) -> None:
        if full and durable:  # the scheduler's lines, not those of the made-up workers
            raise OSError(errno.ENOSPC, "no room")
        write(self, line, durable=durable)

    def set_full(value: bool) -> Callable[[], None]:
        def change() -> None:
            nonlocal full
            full = value

        return change

    monkeypatch.setattr(LineWriter, "write", write_if_there_is_room)
    monkeypatch.setattr(RunDir, "has_room", lambda run_dir: not full)
    sizes: list[int] = []
    observe = {at: (lambda: sizes.append(len(lab.run_dir.read_journal()))) for at in (21.0, 59.0)}
    fate: Callable[[str, str, int], str] = lambda slot, run_id, attempt: "disk" if full else ""  # noqa: E731
    reserves: list[bool] = []
    observe_again = {at: (lambda: reserves.append(lab.run_dir.reserve_path.exists())) for at in (59.5, 70.0)}
    lab.run_sweep(3, fate, {20.0: set_full(True), **observe, **observe_again, 60.0: set_full(False)})
    assert reserves == [False, True]
    assert lab.statuses() == {"ok": 16}
    assert sizes[0] == sizes[1], "nothing was written in between"
    events = lab.run_dir.read_journal()
    leased = [event.time - lab.start_time for event in events if isinstance(event, RunLeased)]
    assert leased == sorted(leased)
    assert len([at for at in leased if 20 < at < 60]) == 1, "the one that found out that the disk is full"
    assert [type(event) for event in events if isinstance(event, DiskFull | DiskFree | EngineEnded)] == [
        DiskFull,
        DiskFree,
        EngineEnded,
    ]
