"""What remote workers report becomes files, whatever comes twice, late, in parts or never."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from dnlbench.events import EpochDone, RunEnded, RunEvent, RunStarted
from dnlbench.executor.ray.messages import Checkpoint, RunUpdate, SharedCheckpoint
from dnlbench.executor.ray.replica import EventReplica
from dnlbench.files import LineWriter, read_lines
from dnlbench.plan import Plan
from dnlbench.store import CheckpointFiles, Execution, RunDir

HOW = Execution.here(device_kind="cpu", threads=1, pack_size=1, machine="")
START = 1000.0
"""By the engine's clock."""
SLOW_S = 500.0
"""By how much the remote workers' clocks are behind."""


@pytest.fixture
def run_dir(tmp_path: Path, make_plan: Callable[..., Plan]) -> RunDir:
    result = RunDir(tmp_path / "run-dir")
    result.begin(make_plan(), HOW)
    return result


@pytest.fixture
def run_id(run_dir: RunDir) -> str:
    return run_dir.read_plan().runs[0].run_id


@pytest.fixture
def replica(run_dir: RunDir, run_id: str) -> EventReplica:
    result = EventReplica(run_dir)
    result.begin({run_id: 1}, START)
    return result


def events_of(run_id: str, epochs: Sequence[int], *, attempt: int = 1, ended: bool = True) -> list[RunEvent]:
    """By a remote worker's clock, a second each."""
    start = START - SLOW_S
    started = RunStarted(
        time=start,
        run_id=run_id,
        attempt=attempt,
        device="cpu",
        device_name="x",
        threads=1,
        parameters=1,
        from_epoch=epochs[0] - 1,
    )
    done = [
        EpochDone(
            time=start + n,
            run_id=run_id,
            epoch=n,
            train_loss=1 / n,
            seconds=1.0,
            samples_per_s=1e3 / 7,
            gradient_norm=float("nan"),
        )
        for n in epochs
    ]
    last = [RunEnded(time=start + epochs[-1], run_id=run_id, status="ok")] if ended else []
    return [started, *done, *last]


def update(
    run_id: str,
    events: Sequence[RunEvent],
    first: int = 0,
    *,
    attempt: int = 1,
    checkpoint: Checkpoint | None = None,
    log: bytes = b"",
    log_from: int = 0,
) -> RunUpdate:
    lines = tuple(event.model_dump_json(exclude_none=True).encode() for event in events)
    return RunUpdate(
        run_id=run_id, attempt=attempt, first=first, lines=lines, checkpoint=checkpoint, log=log, log_from=log_from
    )


def kept(run_dir: RunDir, run_id: str) -> list[RunEvent]:
    return run_dir.parse_events(run_id, read_lines(run_dir.events_path(run_id)))


@pytest.mark.parametrize("order", range(20))
def test_each_event_is_kept_once_in_its_order(replica: EventReplica, run_dir: RunDir, run_id: str, order: int) -> None:
    events = events_of(run_id, range(1, 31))
    log = bytes(Random(order).randbytes(200))
    random, count, logged = Random(order), 0, 0
    while count < len(events) or logged < len(log):
        first, log_from = random.randint(0, count), random.randint(0, logged)  # of what was told, some again
        last, log_to = min(len(events), first + random.randint(0, 8)), min(len(log), log_from + random.randint(0, 40))
        replica.take(
            update(run_id, events[first:last], first, log=log[log_from:log_to], log_from=log_from), ahead_s=SLOW_S
        )
        count, logged = max(count, last), max(logged, log_to)
    result = kept(run_dir, run_id)
    assert [event.event for event in result] == [event.event for event in events]
    assert [event.epoch for event in result if isinstance(event, EpochDone)] == list(range(1, 31))
    assert run_dir.log_path(run_id, 1).read_bytes() == log


def test_updates_after_a_gap_are_dropped(replica: EventReplica, run_dir: RunDir, run_id: str) -> None:
    events = events_of(run_id, range(1, 5))
    replica.take(update(run_id, events[:2]), ahead_s=SLOW_S)
    late = update(run_id, events[3:], first=3, checkpoint=b"after the third")
    replica.take(late, ahead_s=SLOW_S)  # the third never came
    assert CheckpointFiles(run_dir.run_path(run_id)).last() is None, "a run cannot go on where its events do not reach"
    assert len(kept(run_dir, run_id)) == 2
    replica.take(update(run_id, events[2:], first=2), ahead_s=SLOW_S)
    assert len(kept(run_dir, run_id)) == len(events)


def test_updates_of_an_abandoned_attempt_are_dropped(replica: EventReplica, run_dir: RunDir, run_id: str) -> None:
    late = events_of(run_id, range(1, 5))
    replica.take(update(run_id, late[:3]), ahead_s=SLOW_S)
    replica.end({run_id: 1})
    replica.take(update(run_id, late[3:], first=3), ahead_s=SLOW_S)
    replica.begin({run_id: 2}, START + 10)
    replica.take(update(run_id, late[3:], first=3), ahead_s=SLOW_S)
    again = events_of(run_id, range(3, 5), attempt=2)
    replica.take(update(run_id, again, attempt=2), ahead_s=SLOW_S)
    replica.take(update(run_id, late, attempt=1, checkpoint=b"late"), ahead_s=SLOW_S)
    history = run_dir.read_history(run_dir.read_plan().by_id[run_id], all_epochs=True)
    assert [attempt.started.attempt for attempt in history.attempts] == [1, 2]
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4]
    assert CheckpointFiles(run_dir.run_path(run_id)).last() is None


def test_the_end_of_an_earlier_attempt_does_not_end_the_next(
    replica: EventReplica, run_dir: RunDir, run_id: str
) -> None:
    replica.begin({run_id: 2}, START)
    replica.end({run_id: 1})
    replica.take(update(run_id, events_of(run_id, [1], attempt=2), attempt=2), ahead_s=SLOW_S)
    assert len(kept(run_dir, run_id)) == 3


def test_times_are_by_the_engines_clock(replica: EventReplica, run_dir: RunDir, run_id: str) -> None:
    replica.take(update(run_id, events_of(run_id, range(1, 4))), ahead_s=SLOW_S)
    assert [event.time for event in kept(run_dir, run_id)] == [START, START + 1, START + 2, START + 3, START + 3]


def test_no_event_is_earlier_than_its_attempt(replica: EventReplica, run_dir: RunDir, run_id: str) -> None:
    replica.take(update(run_id, events_of(run_id, range(1, 4))), ahead_s=SLOW_S - 2.5)
    assert [event.time for event in kept(run_dir, run_id)] == [START, START, START, START + 0.5, START + 0.5]


def test_values_are_kept_to_the_last_bit(replica: EventReplica, run_dir: RunDir, run_id: str) -> None:
    events = events_of(run_id, range(1, 8))
    replica.take(update(run_id, events), ahead_s=SLOW_S)
    before = [event.model_dump_json(exclude={"time"}) for event in events]
    assert [event.model_dump_json(exclude={"time"}) for event in kept(run_dir, run_id)] == before
    assert '"gradient_norm":"NaN"' in before[1]


@pytest.mark.parametrize("shared", [False, True])
def test_a_checkpoint_follows_the_events_that_it_counts_on(
    replica: EventReplica, run_dir: RunDir, run_id: str, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    order: list[str] = []
    write, put = LineWriter.write_all, CheckpointFiles._put

    def noted_write(self: LineWriter, lines: Sequence[str], *, durable: bool = False) -> None:
        order.append(f"{len(list(lines))} events, {'durable' if durable else 'not'}")
        write(self, lines, durable=durable)

    def noted_put(self: CheckpointFiles, new: Path, sha256: str) -> None:
        order.append("checkpoint")
        put(self, new, sha256)

    monkeypatch.setattr(LineWriter, "write_all", noted_write)
    monkeypatch.setattr(CheckpointFiles, "_put", noted_put)
    content: Checkpoint = b"state"
    if shared:
        path = run_dir.run_path(run_id) / "checkpoint.incoming-1.pt"
        path.write_bytes(b"state")
        content = SharedCheckpoint(path=Path("as-seen-there") / path.name, sha256=hashlib.sha256(b"state").hexdigest())
    replica.take(update(run_id, events_of(run_id, range(1, 4)), checkpoint=content), ahead_s=SLOW_S)
    assert order == ["4 events, durable", "checkpoint", "1 events, durable"]
    files = CheckpointFiles(run_dir.run_path(run_id))
    assert files.last() == b"state"
    assert sorted(path.name for path in run_dir.run_path(run_id).glob("checkpoint*")) == [
        "checkpoint.pt",
        "checkpoint.pt.sha256",
    ]


def test_events_that_came_earlier_are_on_the_disk_before_it_too(
    replica: EventReplica, run_dir: RunDir, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica.take(update(run_id, events_of(run_id, [1], ended=False)), ahead_s=SLOW_S)
    order: list[str] = []
    fsync, put = os.fsync, CheckpointFiles._put

    def noted_fsync(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), run_dir.events_path(run_id).stat()):
            order.append("events")
        fsync(descriptor)

    def noted_put(self: CheckpointFiles, new: Path, sha256: str) -> None:
        order.append("checkpoint")
        put(self, new, sha256)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(CheckpointFiles, "_put", noted_put)
    replica.take(update(run_id, [], first=2, checkpoint=b"state"), ahead_s=SLOW_S)
    assert order == ["events", "checkpoint"]


def test_a_checkpoint_in_the_shared_directory_is_of_the_time_by_the_engines_clock(
    replica: EventReplica, run_dir: RunDir, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler holds it against that of the attempt; the server's clock, which dates files, may be another."""
    path = run_dir.run_path(run_id) / "checkpoint.incoming-1.pt"
    path.write_bytes(b"state")
    monkeypatch.setattr(time, "time", lambda: START + 7)
    there = SharedCheckpoint(path=path, sha256=hashlib.sha256(b"state").hexdigest())
    replica.take(update(run_id, [], checkpoint=there), ahead_s=SLOW_S)
    assert run_dir.checkpoint_time(run_id) == START + 7


def test_a_resuming_worker_gets_events_and_any_checkpoint_it_cannot_see(
    replica: EventReplica, run_dir: RunDir, run_id: str
) -> None:
    assert replica.resume_states({run_id: 1}, shared=False)[run_id].lines == ()
    replica.take(update(run_id, events_of(run_id, [1, 2], ended=False), checkpoint=b"state"), ahead_s=SLOW_S)
    complete, rest = (replica.resume_states({run_id: 2}, shared=shared)[run_id] for shared in (False, True))
    assert complete.lines == rest.lines == tuple(read_lines(run_dir.events_path(run_id)))
    assert (complete.checkpoint, rest.checkpoint) == (b"state", None)
