"""Start engines in separate processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping

from dnlbench.engine.request import RunRequest, restored_on_error, write_request
from dnlbench.errors import EngineError, RunDirError
from dnlbench.store import Journal, RunDir

PROGRAM = ("-P", "-m", "dnlbench.engine")
"""Arguments for Python. With -P, a file in the current folder does not hide an installed package."""
POLL_S = 0.05


class EngineProcess:
    """An engine in a separate process session, so that it survives the terminal. It prints to ``engine.log``."""

    def __init__(
        self,
        run_dir: RunDir,
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        parent_pipe: bool = False,
    ) -> None:
        """Start ``python -m dnlbench.engine`` for the request in a run directory.

        With ``parent_pipe``, the engine is interrupted when this process exits or closes `stdin`.
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
        """Return the error message of the engine, or how its process ended."""
        output = self._log_path.read_bytes()[self._log_start :].decode(errors="replace").strip()
        _, mark, message = output.rpartition("dnlbench: error: ")
        if mark:
            return message
        code = self.process.poll() or 0
        if code < 0:
            return f"killed by signal {-code}"
        return output.splitlines()[-1] if output else f"exit code {code} without a message"


def launch(request: RunRequest, run_dir: RunDir) -> int:
    """Start an engine that outlives this process, and wait until its workers are ready.

    An interrupt during the wait stops the engine.

    Returns:
        The process id of the engine.

    Raises:
        RunDirError: if another engine uses the run directory.
        EngineError: if the engine exited before its workers were ready, with its message and its ``exit_code``.
    """
    holder = run_dir.engine()
    if holder is not None:
        raise RunDirError(
            f"{run_dir.root}: in use by another engine, process {holder}. Follow it with dnlbench attach {run_dir.root}"
        )
    with restored_on_error(run_dir):
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
                # The caller may outlive the engine, whose process must not remain as a zombie.
                threading.Thread(target=process.wait, name="engine", daemon=True).start()
                return process.pid
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        process.terminate()
        raise
    if process.returncode == 0 or prepared():  # nothing, or next to nothing, was left to run
        return process.pid
    raise EngineError(engine.problem(), exit_code=max(1, process.returncode))
