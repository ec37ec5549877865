"""The poller reads new events, and reports what it cannot read without stopping."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable

import pytest

from dnlbench.events import EpochDone, RunLeased, RunStarted
from dnlbench.store import RunDir
from dnlbench.tui.poller import Poller, Snapshot
from tests.tui.conftest import NOW, PATIENCE_S, Record


def poller_of(run_dir: RunDir) -> Poller[Snapshot]:
    return Poller(run_dir, lambda snapshot: snapshot, lambda: NOW)


def begin(run_dir: RunDir, index: int) -> str:
    """Lease and start another run by hand."""
    run = run_dir.read_plan().runs[index]
    journal = run_dir.journal_writer()
    journal.write(RunLeased(time=NOW, run_id=run.run_id, attempt=1, slot="cpu/0").model_dump_json())
    journal.close()
    events = run_dir.events_writer(run.run_id)
    started = RunStarted(time=NOW, run_id=run.run_id, attempt=1, device="cpu", device_name="x", threads=1, parameters=1)
    events.write(started.model_dump_json())
    events.close()
    return run.run_id


def epoch(run_id: str, number: int) -> str:
    done = EpochDone(run_id=run_id, epoch=number, train_loss=1.0, seconds=1.0, samples_per_s=1.0, gradient_norm=1.0)
    return done.model_dump_json()


def test_new_events_are_in_the_next_snapshot(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    poller = poller_of(run_dir)
    first = poller.poll()
    assert first.view is not None
    assert len(first.view.ended) == 1
    run_id = begin(run_dir, 2)
    writer = run_dir.events_writer(run_id)
    writer.write(epoch(run_id, 1))
    writer.close()
    then = poller.poll()
    assert then.view is not None
    assert then.view.histories[run_id].epochs.done == 1
    unchanged = poller.poll()
    assert unchanged.view is not None
    assert unchanged.view.histories[run_id] is then.view.histories[run_id]


def test_a_torn_line_is_read_once_it_is_complete(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    poller = poller_of(run_dir)
    poller.poll()
    run_id = begin(run_dir, 2)
    line = epoch(run_id, 1).encode() + b"\n"
    path = run_dir.events_path(run_id)
    with path.open("ab") as file:
        file.write(line[:30])
    torn = poller.poll()
    assert torn.view is not None
    assert torn.problem == ""
    assert torn.view.histories[run_id].epochs.done == 0
    with path.open("ab") as file:
        file.write(line[30:])
    complete = poller.poll()
    assert complete.view is not None
    assert complete.view.histories[run_id].epochs.done == 1


def test_a_newer_schema_is_a_message(record: Record) -> None:
    run_dir = record()
    run_dir.sweep_path.write_text(run_dir.sweep_path.read_text().replace("dnlbench.sweep/", "dnlbench.sweep/9"))
    snapshot = poller_of(run_dir).poll()
    assert snapshot.view is None
    assert "schema is 'dnlbench.sweep/92', this version reads 'dnlbench.sweep/2'" in snapshot.problem


@pytest.mark.parametrize("line", [b'{"event":"from-the-future","time":1}\n', b"no json\n", b"[1]\n"])
def test_an_invalid_line_is_reported_and_skipped(record: Record, line: bytes) -> None:
    run_dir = record(states=["done"], engine=None)
    poller = poller_of(run_dir)
    poller.poll()
    run_id = begin(run_dir, 2)
    for path in (run_dir.journal_path, run_dir.events_path(run_id)):
        with path.open("ab") as file:
            file.write(line)
        snapshot = poller.poll()
        number = path.read_bytes().count(b"\n")
        assert f"{path}:{number}: " in snapshot.problem
        assert "not an event that this version reads" in snapshot.problem
        assert snapshot.view is not None
    assert poller.poll().problem == ""


def test_the_last_view_remains_if_the_run_directory_is_deleted(record: Record) -> None:
    run_dir = record(states=["done"])
    poller = poller_of(run_dir)
    poller.poll()
    shutil.rmtree(run_dir.root)
    missing = poller.poll()
    assert missing.problem == f"{run_dir.root}: no longer exists"
    assert missing.view is not None
    assert len(missing.view.ended) == 1
    assert poller_of(run_dir).poll().problem == f"{run_dir.root}: not a run directory: it has no sweep.json"


def test_a_sweep_that_is_extended_shows_its_new_runs(record: Record, make_plan: Callable[..., object]) -> None:
    run_dir = record(states=["done"])
    poller = poller_of(run_dir)
    before = poller.poll()
    extended = record("sweep.depths=[1,2,4]", name="other").read_plan()
    run_dir.begin(extended, run_dir.read_execution())
    after = poller.poll()
    assert before.view is not None
    assert after.view is not None
    assert (len(before.view.plan.runs), len(after.view.plan.runs)) == (8, 12)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        time.sleep(0.01)


def test_it_polls_until_it_is_stopped(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    seen: list[Snapshot] = []
    poller = Poller(run_dir, seen.append)
    poller.start()
    run_id = begin(run_dir, 2)
    wait_until(lambda: seen and (view := seen[-1].view) and view.histories[run_id].started is not None)
    poller.stop()
    for thread in threading.enumerate():
        if thread.name == "poller":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_an_exception_in_the_builder_does_not_stop_the_poller(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnlbench.tui.poller.IDLE_S", PATIENCE_S)  # it polls when it is woken
    faults = iter([ValueError("a bug")])

    def build(snapshot: Snapshot) -> Snapshot:
        for fault in faults:
            raise fault
        return snapshot

    poller = Poller(record(states=["done"]), build)
    poller.start()
    wait_until(lambda: poller.failure)
    assert (poller.failure, poller.latest) == ("ValueError: a bug", None)
    poller.wake()
    wait_until(lambda: poller.latest)
    poller.stop()
