"""A process that cleans up a private Ray cluster once its driver has ended.

Ray's own agents outlive a killed driver by a minute. The driver starts this process before Ray. It recognizes the cluster's
processes by a marker in their environment or, because Ray's processes overwrite their environment with their titles, by
open log files in the cluster's folder. It waits until its standard input ends, which happens when the driver ends.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "DNLBENCH_RAY_CLUSTER"
"""Environment variable with a unique value for each cluster."""
ROUNDS = 50
"""Maximum number of passes over all processes, since some may start others in the meantime."""
PAUSE_S = 0.1


def main(mark: str, folder: str) -> None:
    """Wait until the driver ends, then kill the remaining processes and remove the cluster's folder."""
    driver = os.getppid()  # the driver also has a log there, and may still be busy
    sys.stdin.buffer.read()
    reap(mark, Path(folder), spare=driver)
    shutil.rmtree(folder, ignore_errors=True)


def reap(mark: str, folder: Path, *, spare: int) -> None:
    """Kill all processes of a cluster except the one with the id ``spare``."""
    for _ in range(ROUNDS):
        left = [process for process in left_of(mark, folder) if process.pid != spare]
        if not left:
            break
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


def left_of(mark: str, folder: Path) -> Iterator[psutil.Process]:
    """Yield the processes of the cluster with this marker and this folder."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get(MARK) == mark
                or any(Path(file.path).is_relative_to(folder) for file in process.open_files())
            ):
                yield process
        except (psutil.Error, OSError):  # it has exited, or belongs to another user
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
