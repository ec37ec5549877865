"""The feed follows what is written, says what cannot be read, and goes on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable

import pytest

from dnlbench.events import EpochDone, RunLeased, RunStarted
from dnlbench.store import RunDir
from dnlbench.tui.feed import Feed, Snapshot
from tests.tui.conftest import NOW, PATIENCE_S, Record


def feed_of(run_dir: RunDir) -> Feed[Snapshot]:
    return Feed(run_dir, lambda snapshot: snapshot, lambda: NOW)


def begin(run_dir: RunDir, place: int) -> str:
    """Another run is leased and started, by hand."""
    run = run_dir.read_plan().runs[place]
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


def test_what_is_added_is_seen_with_the_next_look(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    feed = feed_of(run_dir)
    first = feed.look()
    assert first.view is not None
    assert len(first.view.ended) == 1
    run_id = begin(run_dir, 2)
    writer = run_dir.events_writer(run_id)
    writer.write(epoch(run_id, 1))
    writer.close()
    then = feed.look()
    assert then.view is not None
    assert then.view.histories[run_id].epochs.done == 1
    unchanged = feed.look()
    assert unchanged.view is not None
    assert unchanged.view.histories[run_id] is then.view.histories[run_id]


def test_a_torn_line_waits_until_it_is_whole(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    feed = feed_of(run_dir)
    feed.look()
    run_id = begin(run_dir, 2)
    line = epoch(run_id, 1).encode() + b"\n"
    path = run_dir.events_path(run_id)
    with path.open("ab") as file:
        file.write(line[:30])
    torn = feed.look()
    assert torn.view is not None
    assert torn.problem == ""
    assert torn.view.histories[run_id].epochs.done == 0
    with path.open("ab") as file:
        file.write(line[30:])
    whole = feed.look()
    assert whole.view is not None
    assert whole.view.histories[run_id].epochs.done == 1


def test_a_newer_schema_is_a_message(record: Record) -> None:
    run_dir = record()
    run_dir.sweep_path.write_text(run_dir.sweep_path.read_text().replace("dnlbench.sweep/", "dnlbench.sweep/9"))
    found = feed_of(run_dir).look()
    assert found.view is None
    assert "schema is 'dnlbench.sweep/92', this version reads 'dnlbench.sweep/2'" in found.problem


@pytest.mark.parametrize("line", [b'{"event":"from-the-future","time":1}\n', b"no json\n", b"[1]\n"])
def test_a_line_that_means_nothing_is_told_and_passed_over(record: Record, line: bytes) -> None:
    run_dir = record(states=["done"], engine=None)
    feed = feed_of(run_dir)
    feed.look()
    run_id = begin(run_dir, 2)
    for path in (run_dir.journal_path, run_dir.events_path(run_id)):
        with path.open("ab") as file:
            file.write(line)
        found = feed.look()
        number = path.read_bytes().count(b"\n")
        assert f"{path}:{number}: " in found.problem
        assert "not an event that this version reads" in found.problem
        assert found.view is not None
    assert feed.look().problem == ""


def test_a_run_directory_that_vanishes_leaves_what_was_seen(record: Record) -> None:
    run_dir = record(states=["done"])
    feed = feed_of(run_dir)
    feed.look()
    shutil.rmtree(run_dir.root)
    gone = feed.look()
    assert gone.problem == f"{run_dir.root}: no longer there"
    assert gone.view is not None
    assert len(gone.view.ended) == 1
    assert feed_of(run_dir).look().problem == f"{run_dir.root}: not a run directory: it has no sweep.json"


def test_a_sweep_that_is_extended_shows_its_new_runs(record: Record, make_plan: Callable[..., object]) -> None:
    run_dir = record(states=["done"])
    feed = feed_of(run_dir)
    before = feed.look()
    extended = record("sweep.depths=[1,2,4]", name="other").read_plan()
    run_dir.begin(extended, run_dir.read_execution())
    after = feed.look()
    assert before.view is not None
    assert after.view is not None
    assert (len(before.view.plan.runs), len(after.view.plan.runs)) == (8, 12)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.01)


def test_it_looks_by_itself_until_it_is_stopped(record: Record) -> None:
    run_dir = record(states=["done"], engine=None)
    seen: list[Snapshot] = []
    feed = Feed(run_dir, seen.append)
    feed.start()
    run_id = begin(run_dir, 2)
    wait_until(lambda: seen and (view := seen[-1].view) and view.histories[run_id].started is not None)
    feed.stop()
    for thread in threading.enumerate():
        if thread.name == "feed":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_a_digest_that_fails_does_not_end_the_feed(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnlbench.tui.feed.IDLE_S", PATIENCE_S)  # it looks when it is woken
    faults = iter([ValueError("a bug")])

    def digest(snapshot: Snapshot) -> Snapshot:
        for fault in faults:
            raise fault
        return snapshot

    feed = Feed(record(states=["done"]), digest)
    feed.start()
    wait_until(lambda: feed.failure)
    assert (feed.failure, feed.latest) == ("ValueError: a bug", None)
    feed.wake()
    wait_until(lambda: feed.latest)
    feed.stop()
