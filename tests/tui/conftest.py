"""Fixtures of the terminal UI: a fixed clock, recorded sweeps on disk, and the text of a screen."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sized
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot

from dnlbench.events import (
    DataInfo,
    EngineEnded,
    EngineStarted,
    EpochDone,
    Event,
    Prepared,
    RunEnded,
    RunError,
    RunLeased,
    RunStarted,
)
from dnlbench.machine import Code, Device, Machine
from dnlbench.plan import Plan, Run
from dnlbench.spec import parse_spec
from dnlbench.store import Execution, RunDir
from dnlbench.tui.screens.sweep import SweepScreen
from tests.conftest import TINY

NOW = 1_800_000_000.0
"""Current time of the tests: 2027-01-15 08:00 UTC."""
PATIENCE_S = 300.0
"""Timeout in seconds, after which a test fails."""
NARROW, WIDE = (80, 24), (160, 48)

Act = Callable[[Pilot[Any]], Awaitable[None]]
Drive = Callable[..., None]
ScreenText = Callable[[App[Any]], str]
Record = Callable[..., RunDir]
Notices = list[tuple[str, str]]
"""Notifications, each with its severity."""


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait for a condition that threads, timers or other processes fulfill."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "timeout"
        await pilot.pause(0.02)


async def workers_done(pilot: Pilot[Any]) -> None:
    """Wait until all worker threads are done and their results are shown."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def polled_again(pilot: Pilot[Any], screen: SweepScreen) -> None:
    """Wait until the poller has polled again and its result is painted."""

    def is_newer(than: object) -> bool:
        return screen._poller.latest is not than

    for _ in range(2):  # a poll may have been running
        before = screen._poller.latest
        screen._poller.wake()
        await until(pilot, partial(is_newer, before))
    screen.paint()
    await pilot.pause()


async def _idle(app: App[Any], *_: float) -> None:
    """Wait until only timers, files and threads can make progress."""
    ready: Sized = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    while True:
        await asyncio.sleep(0)
        if not ready:
            app._check_resize()
            app.screen._on_timer_update()
        if not ready:
            return


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Drive:
    """Run an app without a terminal of the given size (columns × rows), while ``acts`` press its keys in turn.

    It replaces Textual's test for idleness (no CPU time for 20 ms), which is slow, and wrong on a busy machine.
    """

    def run(app: App[Any], *acts: Act, size: tuple[int, int] = NARROW) -> None:
        async def main() -> None:
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                for act in acts:
                    await act(pilot)

        app.animation_level = "none"
        for user in ("app", "pilot"):
            monkeypatch.setattr(f"textual.{user}.wait_for_idle", partial(_idle, app))
        asyncio.run(main())

    return run


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> Notices:
    """The notifications of apps during the test."""
    messages: Notices = []

    def notify(app: App[Any], message: str, *, severity: str = "information", **_: object) -> None:
        messages.append((message, severity))

    monkeypatch.setattr(App, "notify", notify)
    return messages


@pytest.fixture
def screen_text() -> ScreenText:
    """Return the lines of a screen without trailing blanks."""

    def text(app: App[Any]) -> str:
        lines = app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines) + "\n"

    return text


GOLDEN = Path(__file__).parent.parent / "golden" / "tui"


@pytest.fixture
def matches_golden() -> Callable[[str, str], None]:
    """Compare the text of a screen with a file, or write the file if ``UPDATE_GOLDEN`` is set."""

    def compare(text: str, name: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; look at both, then run with UPDATE_GOLDEN=1"

    return compare


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ignore the user's settings and ``NO_COLOR``."""
    monkeypatch.setenv("DNLBENCH_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


MACHINE = Machine(
    os="Linux 6.1",
    cpu="Some CPU",
    cores=2,
    memory_bytes=16 * 2**30,
    python="3.11.9",
    torch="2.11.0",
    devices=(Device(kind="cpu", name="Some CPU", memory_bytes=16 * 2**30),),
    fingerprint="0123456789abcdef",
)
EXECUTION = Execution(
    device_kind="cpu", threads=1, pack_size=1, torch="2.11.0", machine=MACHINE.fingerprint, source="0" * 16
)


def epochs_of(run: Run, until: int, start: float) -> list[EpochDone]:
    """Return epochs whose loss decays to a floor that decreases with depth, with a different oscillation for each seed."""
    depth, seed = run.point.depth, run.seed
    floor = 0.1 + 0.5 / depth
    return [
        EpochDone(
            time=start + 2.0 * epoch,
            run_id=run.run_id,
            epoch=epoch,
            train_loss=floor + 2.2 * math.exp(-0.35 * epoch) + 0.03 * math.sin(3 * epoch + 2 * seed + depth) / epoch,
            seconds=1.8,
            samples_per_s=4000.0 / depth + 10 * seed,
            gradient_norm=1.5 / epoch + 0.1 * seed,
        )
        for epoch in range(1, until + 1)
    ]


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Run directories in the test's folder; see ``recorded``."""
    return partial(recorded, tmp_path)


@pytest.fixture(scope="module")
def record_once(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Run directories that the tests of a module share and do not change."""
    return partial(recorded, tmp_path_factory.mktemp("recorded"))


def recorded(
    folder: Path, *overrides: str, states: Iterable[str] = (), name: str = "rd", engine: str | None = "done"
) -> RunDir:
    """Write a run directory as an engine leaves it, for a plan made from overrides of the tiny spec.

    ``states`` is the state of each run in the plan's order: ``done``, ``half`` (running), ``failed``, ``diverged`` or
    ``waiting``, which is also the default.
    """
    plan = Plan(parse_spec(TINY, "tiny.toml", overrides))
    run_dir = RunDir(folder / name)
    run_dir.begin(plan, EXECUTION)
    journal: list[Event] = [
        EngineStarted(
            time=NOW - 600,
            pid=4242,
            machine=MACHINE,
            code=Code(version="0.3.0", git="abcdef0", dirty=False),
            slots=("cpu/0", "cpu/1"),
        ),
        Prepared(
            time=NOW - 598,
            data=DataInfo(name="digits", sha256="0" * 64, samples=150, input_shape=(1, 8, 8), classes=10),
            torch="2.11.0",
            device_name="Some CPU",
        ),
    ]
    for index, (run, state) in enumerate(zip(plan.runs, states, strict=False)):
        if state != "waiting":
            slot, start = f"cpu/{index % 2}", NOW - 590 + 20.0 * index
            journal.append(RunLeased(time=start, run_id=run.run_id, attempt=1, slot=slot))
            _write_run(run_dir, run, state, start)
    if engine is not None:
        journal.append(EngineEnded(time=NOW - 1, reason=engine))
    writer = run_dir.journal_writer()
    for event in journal:
        writer.write(event.model_dump_json())
    writer.close()
    return run_dir


def _write_run(run_dir: RunDir, run: Run, state: str, start: float) -> None:
    events: list[Event] = [
        RunStarted(
            time=start + 0.1,
            run_id=run.run_id,
            attempt=1,
            device="cpu",
            device_name="Some CPU",
            threads=1,
            jobs=2,
            parameters=1000 * run.point.depth,
        )
    ]
    until = run.epochs if state == "done" else max(1, run.epochs // 2)
    epochs = epochs_of(run, until, start)
    if state == "diverged":
        epochs[-1] = epochs[-1].model_copy(update={"train_loss": math.nan})
    events += epochs
    end = epochs[-1].time + 0.2
    if state == "done":
        events.append(RunEnded(time=end, run_id=run.run_id, status="ok", peak_memory_bytes=2**20 * run.point.depth))
    if state == "diverged":
        error = RunError(type="Diverged", message="the training loss is NaN after epoch 1")
        events.append(RunEnded(time=end, run_id=run.run_id, status="diverged", error=error))
    if state == "failed":
        log = 'Traceback (most recent call last):\n  File "train.py", line 3, in step\nRuntimeError: something broke'
        error = RunError(type="RuntimeError", message="something broke", log=log)
        events.append(RunEnded(time=end, run_id=run.run_id, status="failed", error=error))
    writer = run_dir.events_writer(run.run_id)
    for event in events:
        writer.write(event.model_dump_json())
    writer.close()
    run_dir.log_path(run.run_id, 1).write_text(f"{run.title}: 150 samples\nepoch 1\nepoch 2\n")
