"""``session.json``: the identity of a paired benchmark, so that only its own run directories are resumed together.

::

    {"schema": "dnlbench.session/1", "name": "…", "base": {"python": "…", "set": ["…"], "run_dir": "…"}}

The file is in the run directory of the head. Both journals and both profiles contain the name.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from dnlbench.errors import RunDirError
from dnlbench.files import read_regular, write_atomically
from dnlbench.paired.schedule import Key
from dnlbench.store import RunDir, RunFollower

SCHEMA = "dnlbench.session/1"


def begin_record(head: RunDir, base: RunDir, python: str, settings: Sequence[str], *, resume: bool) -> str:
    """Start or resume the session of two run directories, and return its name.

    Raises:
        RunDirError: if a run directory is in use, or contains results of another session or of an ordinary sweep.
    """
    for run_dir in (head, base):
        if (holder := run_dir.engine()) is not None:
            raise RunDirError(f"{run_dir.root}: in use by another engine, process {holder}. Choose another --run-dir")
    path = head.root / "session.json"
    theirs = {"python": python, "set": list(settings), "run_dir": str(base.root)}
    if path.exists():
        return _resume(path, theirs)
    if resume:
        raise RunDirError(
            f"--resume: {head.root}: no paired benchmark to resume. Run without --resume, or set --run-dir"
        )
    for run_dir in (head, base):
        if run_dir.sweep_path.exists():
            raise RunDirError(
                f"{run_dir.root}: contains an ordinary sweep, not a paired benchmark. Choose another --run-dir"
            )
    name = uuid.uuid4().hex[:16]
    content = {"schema": SCHEMA, "name": name, "base": theirs}
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return name


def _resume(path: Path, theirs: Mapping[str, object]) -> str:
    try:
        content = json.loads(read_regular(path))
        name, known = str(content["name"]), dict(content["base"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunDirError(f"{path}: not a session file: {error}. Choose another --run-dir") from error
    differing = [f"{key} was {known.get(key)}, is now {theirs[key]}" for key in theirs if known.get(key) != theirs[key]]
    if differing:
        raise RunDirError(
            f"{path.parent}: belongs to a paired benchmark with another base: {'; '.join(differing)}. Choose another --run-dir"
        )
    return name


def drop_split_pairs(head: RunDir, base: RunDir) -> list[Key]:
    """Delete the results of pairs with an unfinished run, and return the keys of these pairs.

    Such pairs were interrupted. A resumed run would be measured at another time than its partner.
    """
    ours, theirs = head.read_run_ids(), base.read_run_ids()
    dropped = []
    for key in [key for key in ours if key in theirs]:
        folders = head.run_path(ours[key]), base.run_path(theirs[key])
        done = _is_done(head, ours[key]) and _is_done(base, theirs[key])
        if any(folder.exists() for folder in folders) and not done:
            dropped.append(key)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
    return dropped


def _is_done(run_dir: RunDir, run_id: str) -> bool:
    follower = RunFollower(run_dir, run_id)
    follower.poll()
    return follower.history.done
