"""Memory available to this process, and processes that the system killed because memory ran out."""

from __future__ import annotations

from pathlib import Path

import psutil

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def oom_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Count the processes that the system has killed because memory ran out; 0 if it does not report that.

    An increase explains why a worker died of SIGKILL. The count is that of this process's control group if available, and
    otherwise that of the machine, which may include other users' processes.
    """
    cgroup = _process_cgroup(proc)
    of_group = _count_in(cgroups / cgroup / "memory.events") if cgroup is not None else None
    return of_group if of_group is not None else _count_in(proc / "vmstat") or 0


def memory_limit(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return the smallest memory limit in bytes of this process's control group and its parents; None without a limit."""
    cgroup = _process_cgroup(proc)
    if cgroup is None:
        return None
    folders = [cgroups / cgroup, *(cgroups / parent for parent in Path(cgroup).parents)]
    limits = [line for folder in folders for line in _lines(folder / "memory.max")]
    return min((int(limit) for limit in limits if limit.strip().isdecimal()), default=None)


def cpu_memory() -> tuple[int, int | None]:
    """Return total and used bytes of the machine; in a container with a limit, the limit and None."""
    memory, limit = psutil.virtual_memory(), memory_limit()
    if limit is not None and limit < memory.total:
        return limit, None
    return memory.total, memory.total - memory.available


def _process_cgroup(proc: Path) -> str | None:
    """Return the path of this process's version 2 control group, relative to the hierarchy's root; None without one."""
    for line in _lines(proc / "self" / "cgroup"):
        if line.startswith("0::"):  # other numbers belong to version 1
            return line.removeprefix("0::").lstrip("/")
    return None


def _count_in(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdecimal():
            return int(value)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:  # not Linux, an older kernel, or hidden in a container
        return []
