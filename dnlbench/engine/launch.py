"""Starting engines as processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping

from dnlbench.engine.request import RunRequest, kept_if_refused, write_request
from dnlbench.errors import EngineError, RunDirError
from dnlbench.store import Journal, RunDir

PROGRAM = ("-P", "-m", "dnlbench.engine")
"""For Python; with -P a file in the current folder does not hide an installed package."""
POLL_S = 0.05


class EngineProcess:
    """An engine in a session of its own, which no closed terminal ends. What it prints goes to ``engine.log``."""

    def __init__(
        self,
        run_dir: RunDir,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        parent_pipe: bool = False,
    ) -> None:
        """Start ``python -m dnlbench.engine`` for the request in a run directory.

        With ``parent_pipe`` it ends as by Ctrl+C when this process ends, or closes `stdin`.
        """
        self._log_path = run_dir.engine_log_path
        self.journal = Journal(run_dir, from_now=True)
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                [python, *PROGRAM, str(run_dir.root), *(["--parent-pipe"] if parent_pipe else [])],
                env=environment,
                stdin=subprocess.PIPE if parent_pipe else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def problem(self) -> str:
        """The engine's error message, or how the process ended without one."""
        said = self._log_path.read_bytes()[self._log_start :].decode(errors="replace").strip()
        _, mark, message = said.rpartition("dnlbench: error: ")
        if mark:
            return message
        code = self.process.poll() or 0
        if code < 0:
            return f"it ended with signal {-code}"
        return said.splitlines()[-1] if said else f"it ended with exit code {code} and printed nothing"


def launch(request: RunRequest, run_dir: RunDir) -> int:
    """Start an engine that outlives this process.

    Returns:
        Its process id, once its workers are ready. An interrupt before that ends it.

    Raises:
        RunDirError: if another engine is at work there.
        EngineError: if the engine ended before its workers were ready, with its message and its ``exit_code``.
    """
    holder = run_dir.engine()
    if holder is not None:
        raise RunDirError(
            f"{run_dir.root}: in use by another engine, process {holder}; follow it with dnlbench attach {run_dir.root}"
        )
    with kept_if_refused(run_dir):
        write_request(request, run_dir)
        return _wait_until_prepared(EngineProcess(run_dir))


def _wait_until_prepared(engine: EngineProcess) -> int:
    process = engine.process

    def prepared() -> bool:
        engine.journal.poll()
        return engine.journal.state.prepared is not None

    try:
        while process.poll() is None:
            if prepared():
                # Who started it may live on: an engine that ends is not to remain as a zombie of theirs.
                threading.Thread(target=process.wait, name="engine", daemon=True).start()
                return process.pid
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        process.terminate()
        raise
    if process.returncode == 0 or prepared():  # a sweep that was done already, or had next to nothing left
        return process.pid
    raise EngineError(engine.problem(), exit_code=max(1, process.returncode))
