"""How much memory there is for this process, and whether the system had to end processes because it ran out."""

from __future__ import annotations

from pathlib import Path

import psutil

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def oom_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """How many processes the system has ended so far because memory ran out; 0 where it does not tell.

    What it says by itself means little: that it has grown tells why a worker may have died of SIGKILL. The count is of
    this process's control group where that is told, of the whole machine otherwise, where others may have a part in it.
    """
    cgroup = _process_cgroup(proc)
    of_group = _count_in(cgroups / cgroup / "memory.events") if cgroup is not None else None
    return of_group if of_group is not None else _count_in(proc / "vmstat") or 0


def memory_limit(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """The most bytes that this process's control group, or one that it is in, may take; None without a limit."""
    cgroup = _process_cgroup(proc)
    if cgroup is None:
        return None
    folders = [cgroups / cgroup, *(cgroups / parent for parent in Path(cgroup).parents)]
    limits = [line for folder in folders for line in _lines(folder / "memory.max")]
    return min((int(limit) for limit in limits if limit.strip().isdecimal()), default=None)


def cpu_memory() -> tuple[int, int | None]:
    """Bytes of the whole machine and those in use; with a container's limit that limit, of whose use nobody tells."""
    memory, limit = psutil.virtual_memory(), memory_limit()
    if limit is not None and limit < memory.total:
        return limit, None
    return memory.total, memory.total - memory.available


def _process_cgroup(proc: Path) -> str | None:
    """The path of this process's control group of version 2, below where these are; None without one."""
    for line in _lines(proc / "self" / "cgroup"):
        if line.startswith("0::"):  # other numbers are hierarchies of version 1
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
    except OSError:  # another system, an older kernel, or a container that hides it
        return []
