"""Control running engines from other processes."""

from __future__ import annotations

import time

from dnlbench.errors import EngineError, RunDirError
from dnlbench.events import Command, CommandDone, RunRequeued
from dnlbench.executor.scheduler.control import CommandResult, check_command, inactive_state
from dnlbench.store import Journal, RunDir, send_command

RESPONSE_TIMEOUT_S = 10.0
"""Maximum time until an engine responds, in seconds. It polls for commands ten times a second."""
POLL_S = 0.05


def give_command(run_dir: RunDir, command: Command) -> CommandResult:
    """Send a command to the engine of a run directory and wait for its response.

    Without a running engine, ``retry`` marks runs for the next engine.

    Raises:
        RunDirError: if there is no sweep, or no running engine.
        EngineError: if the engine does not respond.
    """
    run_dir.read_plan()
    if run_dir.engine() is None:
        if command.action == "retry":
            return _mark_for_retry(run_dir, command)
        raise RunDirError(f"{run_dir.root}: no engine is running. Start one with dnlbench run and --resume")
    journal = Journal(run_dir, from_now=True)
    _send(run_dir, command)
    deadline = time.monotonic() + RESPONSE_TIMEOUT_S
    is_running = True
    while is_running and time.monotonic() < deadline:
        is_running = run_dir.engine() is not None  # checked first, so that its last events are still read
        for event in journal.poll():
            if isinstance(event, CommandDone) and event.command.id == command.id:
                return CommandResult(answer=event.answer, refused=event.refused)
        time.sleep(POLL_S)
    if not is_running:
        raise RunDirError(f"{run_dir.root}: the engine exited before it handled the command")
    raise EngineError(
        f"{run_dir.root}: the engine (process {run_dir.engine()}) has not responded for {RESPONSE_TIMEOUT_S:.0f} s. "
        "It may still be starting or, with --executor inline, training an epoch. Try again later"
    )


def _send(run_dir: RunDir, command: Command) -> None:
    try:
        send_command(run_dir.control_path, command)
    except FileNotFoundError as error:
        raise RunDirError(f"{run_dir.root}: the engine does not accept commands yet. Try again in a moment") from error
    except PermissionError as error:
        raise RunDirError(
            f"{run_dir.control_path}: permission denied. Only the owner of the sweep can control it"
        ) from error


def _mark_for_retry(run_dir: RunDir, command: Command) -> CommandResult:
    """Do what an engine would do, under the lock of the engine."""
    with run_dir.locked():
        plan = run_dir.read_plan()
        result = check_command(command, plan, [], lambda run: inactive_state(run_dir.read_history(run)))
        for run in result.runs:
            writer = run_dir.events_writer(run.run_id)
            writer.write(RunRequeued(run_id=run.run_id).model_dump_json(), durable=True)
            writer.close()
    if result.refused:
        return result
    return CommandResult(answer=f"{result.answer}; they start with the next dnlbench run --resume", runs=result.runs)
