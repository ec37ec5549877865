"""Ends what is left of a Ray cluster of this machine alone once its driver is gone, however it went.

Ray's own agents outlive a killed driver by a minute. This process, which the driver starts before Ray, knows what the cluster
started by a mark in its environment, or, as Ray's processes write their titles over their environment, by the log that it
keeps open in the cluster's folder. It waits until its standard input ends, with the driver.
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
"""Environment variable: one value for each cluster."""
ROUNDS = 50
"""How often at most it is looked for processes, some of which may start others in the meantime."""
PAUSE_S = 0.1


def main(mark: str, folder: str) -> None:
    """Waits for the driver's end, then ends what is left and removes the cluster's folder."""
    driver = os.getppid()  # which has a log there as well, and may have more to do
    sys.stdin.buffer.read()
    reap(mark, Path(folder), spare=driver)
    shutil.rmtree(folder, ignore_errors=True)


def reap(mark: str, folder: Path, *, spare: int) -> None:
    """Ends what runs for a cluster, but for the process with the id ``spare``."""
    for _ in range(ROUNDS):
        left = [process for process in left_of(mark, folder) if process.pid != spare]
        if not left:
            break
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


def left_of(mark: str, folder: Path) -> Iterator[psutil.Process]:
    """What runs for the cluster with this mark and this folder."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get(MARK) == mark
                or any(Path(file.path).is_relative_to(folder) for file in process.open_files())
            ):
                yield process
        except (psutil.Error, OSError):  # it is gone, or somebody else's
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
