"""Engines that screens start. Each is a separate process that outlives the terminal UI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dnlbench.engine.launch import launch
from dnlbench.engine.request import RunRequest, read_request
from dnlbench.store import RunDir


def start_sweep(spec: str, folder: Path) -> RunDir:
    """Start an engine for a sweep, unless the sweep is running.

    Args:
        spec: a preset's name or a TOML file.
        folder: the folder that contains ``.dnlbench`` and ``profiles``.

    Returns:
        The run directory, once the engine's workers are ready.

    Raises:
        DnlbenchError: with the engine's message, if the engine does not start.
    """
    from dnlbench.engine.placement import find_run_dir
    from dnlbench.spec import SpecText

    request = RunRequest(spec=SpecText.read(spec))
    run_dir = RunDir(folder / find_run_dir(request, folder=folder))
    if run_dir.engine() is None:
        launch(request, run_dir)
    return run_dir


def resume(run_dir: RunDir) -> None:
    """Start an engine for the unfinished runs of a run directory, with its original options.

    An environment of a paired benchmark is resumed as a single sweep with a new profile.
    """
    request = replace(read_request(run_dir), resume=True)
    launch(replace(request, session=None, out=None) if request.session else request, run_dir)
