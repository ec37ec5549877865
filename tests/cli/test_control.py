"""Sweeps that are steered, left alone and disturbed: real processes, real signals, a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import select
import shlex
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
import pytest

from dnlbench.events import EngineStarted, Prepared, RunEnded, RunLeased, RunPaused, SlotDisabled
from dnlbench.files import read_lines
from dnlbench.profiles import Profile, check_profile, read_profile
from tests.cli.conftest import EPOCHS, PATIENCE_S

if TYPE_CHECKING:
    from tests.cli.conftest import MakeSweep, Sweep

CheckUndisturbed = Callable[[Profile], None]
WaitUntil = Callable[..., None]
Workers = Callable[[int], dict[str, psutil.Process]]

pytestmark = pytest.mark.faults


def statuses(profile: Profile) -> Counter[str]:
    return Counter(run.status for run in profile.runs)


def attempts_of(sweep: Sweep, run_id: str) -> list[str | None]:
    """Return the end of each attempt at a run."""
    attempts = sweep.view().histories[run_id].attempts
    return ["paused" if isinstance(a.last, RunPaused) else a.last.status if a.last else None for a in attempts]


# Pausing


def test_a_sweep_that_is_paused_stands_still_and_goes_on_with_the_same_bits(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers
) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    paused = set(sweep.wait_until_busy().values())
    before = workers(engine.pid)
    assert sweep.control("pause") == "the sweep is paused"
    view = sweep.turn_until(lambda view: not view.leased)
    assert view.pause_state.all_paused
    sizes = sweep.sizes()
    sweep.gate.open()
    for _ in range(2):  # between two answers the engine has looked at all slots
        assert sweep.control("pause") == "the sweep is paused"
    assert sweep.sizes() == sizes
    assert workers(engine.pid) == before
    assert len(before) == 2
    assert sweep.control("resume") == "the sweep is resumed"
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, stderr
    assert "the sweep is paused" in stderr
    assert "nothing is paused" in stderr
    profile = sweep.profile(stdout)
    check_undisturbed(profile)
    ends = {run.run_id: [attempt.status for attempt in run.attempts] for run in profile.runs}
    assert ends == {run_id: ["paused", "ok"] if run_id in paused else ["ok"] for run_id in ends}
    assert len(paused) == 2


def test_runs_and_devices_are_paused_and_released_by_name(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers
) -> None:
    sweep = make_sweep(seeds=6)
    engine = sweep.start()
    first = sweep.wait_until_busy()["cpu/0"]
    sweep.control("pause", first)
    view = sweep.turn_until(lambda view: first not in view.leased and "cpu/0" in view.leased.values())
    assert len(view.leased) == 2  # the others go on

    sweep.control("pause", "--device", "cpu/0")
    sweep.turn_until(lambda view: list(view.leased.values()) == ["cpu/1"])
    sweep.control("pause", "--device", "cpu")
    sweep.turn_until(lambda view: not view.leased)
    assert len(workers(engine.pid)) == 2
    sweep.control("resume", "--device", "cpu")
    before = workers(engine.pid)
    sweep.wait_until_busy()

    assert sweep.control("release", "--device", "cpu/1") == "cpu/1 is released"
    sweep.turn_until(lambda view: not before["cpu/1"].is_running())
    sweep.wait_until(lambda view: list(view.leased.values()) == ["cpu/0"])
    assert workers(engine.pid) == {"cpu/0": before["cpu/0"]}
    assert sweep.control("resume", "--device", "cpu/1") == "cpu/1 is resumed"
    sweep.wait_until_busy()
    again = workers(engine.pid)
    assert again["cpu/0"] == before["cpu/0"]
    assert again["cpu/1"] != before["cpu/1"]

    assert attempts_of(sweep, first) == ["paused"]
    sweep.control("resume", first)
    sweep.gate.open()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, stderr
    check_undisturbed(sweep.profile(stdout))
    assert attempts_of(sweep, first) == ["paused", "ok"]


# Cancelling and trying again


def test_cancelled_runs_stay_so_until_they_are_tried_again(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers
) -> None:
    sweep = make_sweep(seeds=5)
    engine = sweep.start()
    still, running = sorted(sweep.wait_until_busy().values())
    assert "is running" in sweep.refusal("control", "rd", "retry", still)
    waiting = [run_id for run_id in sweep.view().histories if not sweep.view().histories[run_id].attempts][-1]
    assert "seed 4" in sweep.control("cancel", waiting)
    assert sweep.control("cancel", running).startswith("cancelled: own:gated L=1 seed ")
    sweep.wait_until(lambda view: {run.run_id for run in view.not_ok} == {running, waiting})
    assert sweep.control("retry", waiting) == "will be retried: own:gated L=1 seed 4"
    sweep.wait_until(lambda view: {run.run_id for run in view.not_ok} == {running})
    sweep.turn_until(lambda view: [run for run in view.ended if run not in view.not_ok])
    sweep.wait_until(lambda view: view.leased)

    left = list(workers(engine.pid).values())
    assert sweep.control("cancel") == "the sweep is cancelled"
    sweep.gate.turn()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert "to continue, run the same command with --resume" in stderr
    assert not psutil.wait_procs(left, timeout=PATIENCE_S)[1]
    partial = sweep.profile(stdout)
    assert partial.state == "partial"
    assert 1 <= statuses(partial)["ok"] < 4

    sweep.gate.open()
    resumed = sweep.run("--resume")
    assert resumed.returncode == 1, resumed.stderr
    profile = sweep.profile(resumed.stdout)
    assert {run.run_id for run in profile.runs if run.status == "cancelled"} == {running}
    assert next(run.error.message for run in profile.runs if run.error) == "cancelled on request"
    assert profile.state == "partial"
    assert "has succeeded" in sweep.refusal("control", "rd", "retry", waiting)
    assert sweep.control("retry").endswith("; they start with the next dnlbench run --resume")  # all that ended badly
    last = sweep.run("--resume")
    assert last.returncode == 0, last.stderr
    check_undisturbed(sweep.profile(last.stdout))
    assert sweep.profile(last.stdout).state == "complete"
    assert "no run has failed" in sweep.refusal("control", "rd", "retry")


# What is refused


def test_commands_that_cannot_be_obeyed_are_refused_with_their_remedy(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(seeds=3)
    assert "rd: no such run directory" in sweep.refusal("control", "rd", "pause")
    assert "no such run directory" in sweep.refusal("attach", "rd")
    assert "start one with dnlbench run" in sweep.refusal("attach")
    sweep.start()
    running = sweep.wait_until_busy()["cpu/0"]
    assert stat.S_IMODE(sweep.run_dir.control_path.stat().st_mode) == 0o600
    near = sweep.refusal("control", "rd", "pause", f"{running[:-2]}xx")
    assert f"did you mean '{running}'?" in near
    assert "available: cpu, cpu/0, cpu/1" in sweep.refusal("control", "rd", "pause", "--device", "cuda:0")
    assert "specify either runs or a device" in sweep.refusal("control", "rd", "cancel", "--device", "cpu/0")
    assert "release needs a device" in sweep.refusal("control", "rd", "release")
    assert "is running" in sweep.refusal("control", "rd", "retry", running)
    with sweep.run_dir.control_path.open("a") as file:
        file.write("no command\n")  # nobody is to be bothered by it
    assert sweep.control("cancel") == "the sweep is cancelled"
    sweep.turn_until(lambda view: sweep.run_dir.engine() is None)
    message = sweep.refusal("control", "rd", "pause")
    assert "no engine is running. Start one with dnlbench run and --resume" in message


# An engine of its own


def test_a_detached_sweep_goes_on_by_itself_and_can_be_followed(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep(seeds=8, run_dir=None)
    detached = sweep.run("--detach", "--out", "out.json")
    assert detached.returncode == 0, detached.stderr
    sweep.name = detached.stdout.splitlines()[-1]
    assert f"dnlbench attach {sweep.name}" in detached.stderr
    holder = int(sweep.run_dir.engine() or 0)
    assert os.getsid(holder) == holder  # no terminal of ours can end it

    refusal = sweep.refusal(*sweep.arguments, "--detach")
    assert f"in use by another engine, process {holder}" in refusal
    assert f"dnlbench attach {sweep.name}" in refusal

    sweep.turn_until(lambda view: view.ended)
    left = sweep.start("attach")
    assert left.stderr is not None
    assert "[1/8]" in left.stderr.readline()  # it ended before anybody looked
    left.send_signal(signal.SIGINT)
    _, stderr = left.communicate(timeout=PATIENCE_S)
    assert left.returncode == 0
    assert f"detached; the sweep continues. To stop it: dnlbench control {sweep.name} cancel" in stderr
    killed = sweep.start("attach")
    assert killed.stderr is not None
    killed.stderr.readline()
    killed.kill()
    killed.communicate()
    assert sweep.run_dir.engine() == str(holder)

    sweep.gate.open()
    complete = sweep.call("attach")
    assert complete.returncode == 0, complete.stderr
    assert all(f"seed {seed}: loss" in complete.stderr for seed in range(8))
    assert "the sweep is finished; 8 of 8 runs ended, 0 of them not ok" in complete.stderr
    profile = read_profile(sweep.folder / "out.json")
    assert check_profile(profile) == []
    assert profile.state == "complete"
    assert [len(run.attempts) for run in profile.runs] == [1] * 8
    check_undisturbed(profile)
    assert sweep.call("attach").returncode == 0  # nobody is at work: the one that was last


def test_a_killed_engine_is_followed_by_one_that_does_what_it_was_asked_for(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep(seeds=3)
    sweep.run("--detach", "--out", "out.json", "--checkpoint-every", "0")
    sweep.wait_until_busy()
    os.kill(int(sweep.run_dir.engine() or 0), signal.SIGKILL)
    sweep.wait_until(lambda view: sweep.run_dir.engine() is None)
    sweep.gate.open()
    engine = sweep.spawn([sys.executable, "-m", "dnlbench.engine", sweep.name], env=sweep.environment())
    out, err = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, err
    assert out.splitlines()[-1] == "out.json"
    profile = read_profile(sweep.folder / "out.json")
    assert [len(run.attempts) for run in profile.runs].count(2) == 2
    check_undisturbed(profile)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", "dnlbench: error: --set train.epoch=3: train.epoch: unknown key"),
        ("data.dataset=cifar10", "dnlbench: error: data.dataset = 'cifar10': "),
        ("sweep.networks=['nowhere:make']", "dnlbench: error: sweep.networks: 'nowhere:make' cannot be imported"),
    ],
)
def test_what_is_wrong_is_told_before_a_detached_engine_is_left_alone(
    make_sweep: MakeSweep, override: str, message: str
) -> None:
    sweep = make_sweep()
    assert sweep.refusal(*sweep.arguments, "--set", override, "--detach").startswith(message)
    assert sweep.run_dir.engine() is None


# A terminal that is closed


class Terminal:
    """A terminal with somebody in front of it, until it is closed."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self._seen = bytearray()
        self._closing = False
        self.frozen = False
        """Return True if the terminal accepts no output, as after Ctrl+S or a lost connection."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        return self._seen.decode(errors="replace")

    def become_ours(self) -> None:
        """In a child that leads a session: this is its terminal."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the last process has let go of it
            while not self._closing:
                if self.frozen:
                    time.sleep(0.05)
                elif select.select([self._master], [], [], 0.05)[0]:
                    self._seen += os.read(self._master, 4096)

    def close(self) -> None:
        """Close the terminal like its window: its processes get a hangup, and their output fails."""
        self._closing = True
        self._reader.join()
        os.close(self._master)


@pytest.mark.parametrize("shell", [False, True], ids=["the engine leads", "below a shell"])
def test_a_sweep_outlives_the_terminal_that_it_was_started_in(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, shell: bool
) -> None:
    sweep = make_sweep()
    terminal = Terminal()
    command = [sys.executable, "-m", "dnlbench", *sweep.arguments]
    started = sweep.spawn(
        ["sh", "-c", f"{shlex.join(command)}; echo never"] if shell else command,
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        env={**sweep.environment(), "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=terminal.become_ours,
    )
    os.close(terminal.slave)
    sweep.wait_until_busy()
    sweep.turn_until(lambda view: any(history.epochs for history in view.histories.values()))
    engine = int(sweep.run_dir.engine() or 0)
    assert (engine == started.pid) is not shell
    assert "runs" in terminal.text
    if shell:
        os.killpg(started.pid, signal.SIGHUP)  # as a shell does that is told that its terminal is gone
        assert started.wait(PATIENCE_S) == -signal.SIGHUP
    terminal.close()
    sweep.gate.open()
    ended = sweep.call("attach", "rd")
    assert ended.returncode == 0, ended.stderr
    assert "the sweep is finished; 4 of 4 runs ended, 0 of them not ok" in ended.stderr
    assert all(f"seed {seed}: loss" in ended.stderr for seed in range(4))
    if not shell:
        assert started.wait(PATIENCE_S) == 0
    (path,) = (sweep.folder / "profiles").glob("*.json")
    profile = read_profile(path)
    assert check_profile(profile) == []
    assert profile.state == "complete"
    assert [len(run.attempts) for run in profile.runs] == [1] * 4
    check_undisturbed(profile)


def test_a_terminal_that_is_frozen_does_not_hold_a_sweep_up(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed
) -> None:
    sweep = make_sweep(seeds=8)
    terminal = Terminal()
    engine = sweep.spawn(
        [sys.executable, "-m", "dnlbench", *sweep.arguments],
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        env={**sweep.environment(), "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=terminal.become_ours,
    )
    sweep.wait_until_busy()
    terminal.frozen = True
    os.set_blocking(terminal.slave, False)  # of our own descriptor's file, which the engine shares: fill it up ...
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(terminal.slave, b"." * 1024)
    os.set_blocking(terminal.slave, True)  # ... and let whoever writes to it wait
    os.close(terminal.slave)
    sweep.gate.open()
    sweep.wait_until(lambda view: view.engine_ended is not None)
    terminal.close()
    assert engine.wait(PATIENCE_S) is not None
    (path,) = (sweep.folder / "profiles").glob("*.json")
    profile = read_profile(path)
    assert profile.state == "complete"
    check_undisturbed(profile)


# Engines that are interrupted and killed


@pytest.mark.parametrize("is_ending", [False, True], ids=["at once", "while runs are put aside"])
def test_a_second_interrupt_ends_a_sweep_at_once_and_spoils_nothing(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers, is_ending: bool
) -> None:
    sweep = make_sweep()
    engine = sweep.start()
    busy = sweep.wait_until_busy()
    left = list(workers(engine.pid).values())
    assert len(left) == 2
    engine.send_signal(signal.SIGINT)
    if is_ending:
        left[1].suspend()  # the engine waits for it to put its run aside, as the other one does
        sweep.turn_until(lambda view: any("paused" in attempts_of(sweep, run_id) for run_id in busy.values()))
    engine.send_signal(signal.SIGINT)
    _, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(left, timeout=PATIENCE_S)[1]
    for path in (sweep.folder / "profiles").glob("*"):
        assert check_profile(read_profile(path)) == []
    sweep.gate.open()
    resumed = sweep.run("--resume")
    assert resumed.returncode == 0, resumed.stderr
    check_undisturbed(sweep.profile(resumed.stdout))


def test_an_engine_that_is_killed_again_and_again_goes_on_each_time(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers, wait_until: WaitUntil
) -> None:
    sweep = make_sweep()
    run_dir = sweep.run_dir
    engine = sweep.start()
    sweep.wait_until_busy()
    # an epoch's event is there before its checkpoint is
    sweep.turn_until(lambda view: [*run_dir.root.glob("runs/*/checkpoint.pt")])
    left = kill(engine, workers)
    assert run_dir.engine() is None

    not_yet = sweep.folder / ".not-yet"
    not_yet.touch()  # workers do not come to the end of their networks' module
    starts = count(sweep, EngineStarted)
    engine = sweep.start()
    wait_until(lambda: count(sweep, EngineStarted) > starts)
    wait_until(lambda: len(workers(engine.pid)) > 0)
    left += kill(engine, workers)
    assert count(sweep, Prepared) == 1  # it was not ready yet
    not_yet.unlink()

    run_path = next(run_dir.root.glob("runs/*/checkpoint*.pt")).parent
    (run_path / ".checkpoint.pt.abc123.tmp").write_bytes(b"half a check")
    (run_path / "checkpoint.new.pt").write_bytes(b"half a check")
    (run_dir.root / ".sweep.json.def456.tmp").write_bytes(b"{")
    (run_dir.root / ".engine.pid.ghi789.tmp").write_bytes(b"")
    (run_dir.root / "engine.lock").touch()
    (run_dir.root / "engine.pid").write_text("1\n")  # of a process that lives, but is no engine
    with run_dir.journal_path.open("ab") as journal:
        journal.write(b'{"time":17')
    leases = count(sweep, RunLeased)
    started = time.time()
    sweep.gate.open()
    engine = sweep.start()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, stderr
    first = [event for event in run_dir.read_journal() if isinstance(event, RunLeased)][leases]
    print(f"{first.time - started:.1f} s from the start to the first lease")
    profile = sweep.profile(stdout)
    assert profile.state == "complete"
    check_undisturbed(profile)
    assert any(attempt.from_epoch > 0 for run in profile.runs for attempt in run.attempts)
    assert not list(run_path.glob(".checkpoint*")), "what the killed save left is gone"
    assert not psutil.wait_procs(left, timeout=PATIENCE_S)[1]


def kill(engine: subprocess.Popen[str], workers: Workers) -> list[psutil.Process]:
    """Ends an engine at once; its workers."""
    left = list(workers(engine.pid).values())
    engine.kill()
    engine.communicate()
    return left


def count(sweep: Sweep, kind: type[object]) -> int:
    """Return the number of events in the journal."""
    return sum(isinstance(event, kind) for event in sweep.run_dir.read_journal())


# Workers that are killed


KILLS = 6


def test_a_sweep_comes_through_a_killer_of_workers(
    make_sweep: MakeSweep, check_undisturbed: CheckUndisturbed, workers: Workers
) -> None:
    """It kills at random moments of the training, whatever the worker is at, and every other time the one that comes next."""
    sweep, choice = make_sweep(seeds=12), random.Random(0)
    engine = sweep.start(*sweep.arguments, "--checkpoint-every", "0.2")
    killed: list[psutil.Process] = []
    while len(killed) < KILLS:
        sweep.wait_until_busy()
        further = epochs(sweep) + choice.randrange(1, 4)
        sweep.turn_until(lambda view: epochs(sweep) >= further)  # noqa: B023 -- called at once
        slot = choice.choice(["cpu/0", "cpu/1"])
        killed.append(workers(engine.pid)[slot])
        killed[-1].kill()
        if len(killed) % 2:
            sweep.wait_until(lambda view: workers(engine.pid).get(slot, killed[-1]) != killed[-1])  # noqa: B023
            killed.append(workers(engine.pid)[slot])
            killed[-1].kill()
    sweep.gate.open()
    stdout, stderr = engine.communicate(timeout=PATIENCE_S)
    assert engine.returncode == 0, stderr
    profile = sweep.profile(stdout)
    assert profile.state == "complete"
    check_undisturbed(profile)
    for run in profile.runs:
        events = sweep.run_dir.parse_events(run.run_id, read_lines(sweep.run_dir.events_path(run.run_id)))
        assert [event.status for event in events if isinstance(event, RunEnded)] == ["ok"]
        assert [epoch.epoch for epoch in run.epochs] == list(range(1, EPOCHS + 1))
    assert sum(len(run.attempts) for run in profile.runs) > 12
    assert not [event for event in sweep.run_dir.read_journal() if isinstance(event, SlotDisabled)]
    assert not psutil.wait_procs(killed, timeout=PATIENCE_S)[1]


def epochs(sweep: Sweep) -> int:
    """Epochs that all runs have behind them."""
    return sum(len(history.epochs) for history in sweep.view().histories.values())
