"""Steering engines from outside."""

from __future__ import annotations

import time

from dnlbench.errors import EngineError, RunDirError
from dnlbench.events import Command, CommandDone, RunRequeued
from dnlbench.executor.scheduler.control import CommandResult, check_command, inactive_state
from dnlbench.store import Journal, RunDir, send_command

ANSWER_S = 10.0
"""How long an engine may take to answer; it looks for commands ten times a second."""
POLL_S = 0.05


def give_command(run_dir: RunDir, command: Command) -> CommandResult:
    """Has the engine of a run directory obey a command, and waits for its answer.

    Where no engine is at work runs can still be marked to be tried again by the next one.

    Raises:
        RunDirError: if there is no sweep, or no engine to obey.
        EngineError: if the engine does not answer.
    """
    run_dir.read_plan()
    if run_dir.engine() is None:
        if command.action == "retry":
            return _mark_for_retry(run_dir, command)
        raise RunDirError(f"{run_dir.root}: no engine is at work here; dnlbench run with --resume starts one")
    journal = Journal(run_dir, from_now=True)
    _leave(run_dir, command)
    deadline = time.monotonic() + ANSWER_S
    at_work = True
    while at_work and time.monotonic() < deadline:
        at_work = run_dir.engine() is not None  # asked first: its last answers are heard after that
        for event in journal.poll():
            if isinstance(event, CommandDone) and event.command.id == command.id:
                return CommandResult(answer=event.answer, refused=event.refused)
        time.sleep(POLL_S)
    if not at_work:
        raise RunDirError(f"{run_dir.root}: its engine ended before it could obey")
    raise EngineError(
        f"{run_dir.root}: its engine, process {run_dir.engine()}, has not answered for {ANSWER_S:.0f} s. "
        "It may still be starting, or be in the middle of an epoch if it runs inline"
    )


def _leave(run_dir: RunDir, command: Command) -> None:
    try:
        send_command(run_dir.control_path, command)
    except FileNotFoundError as error:
        raise RunDirError(f"{run_dir.root}: its engine takes no commands yet; try again in a moment") from error
    except PermissionError as error:
        raise RunDirError(f"{run_dir.control_path}: only the owner of the sweep may steer it") from error


def _mark_for_retry(run_dir: RunDir, command: Command) -> CommandResult:
    """What an engine would do, under the engine's lock."""
    with run_dir.locked():
        plan = run_dir.read_plan()
        result = check_command(command, plan, [], lambda run: inactive_state(run_dir.read_history(run)))
        for run in result.runs:
            writer = run_dir.events_writer(run.run_id)
            writer.write(RunRequeued(run_id=run.run_id).model_dump_json(), durable=True)
            writer.close()
    if result.refused:
        return result
    return CommandResult(answer=f"{result.answer}; dnlbench run with --resume does it", runs=result.runs)
