"""Whose runs took turns: what the journal says, in the profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from dnlbench.events import DataInfo, EngineStarted, Prepared, RunLeased
from dnlbench.machine import Code, read_machine
from dnlbench.plan import Plan
from dnlbench.profiles import reduce_run_dir
from dnlbench.store import RunDir

if TYPE_CHECKING:
    from pathlib import Path

DATA = DataInfo(name="none", sha256="ab", samples=1, input_shape=(1, 8, 8), classes=10)


@pytest.mark.parametrize(
    ("engines", "name"),
    [
        ([("one", True)], "one"),
        ([(None, True)], None),
        ([("one", True), ("one", True)], "one"),
        ([("one", True), (None, True)], None),
        ([("one", True), (None, False)], "one"),
        ([("one", True), ("two", True)], None),
        ([("one", False)], None),
    ],
)
def test_all_engines_that_trained_are_of_one_session(
    tmp_path: Path,
    make_plan: Callable[..., Plan],
    engines: Sequence[tuple[str | None, bool]],
    name: str | None,
) -> None:
    run_dir, plan = RunDir(tmp_path), make_plan()
    writer = run_dir.journal_writer()
    for session, at_work in engines:
        started = EngineStarted(
            pid=1, machine=read_machine(), code=Code(version="0"), slots=("cpu/0",), session=session
        )
        writer.write(started.model_dump_json())
        writer.write(Prepared(data=DATA, torch="2", device_name="x").model_dump_json())
        if at_work:
            writer.write(RunLeased(run_id=plan.runs[0].run_id, attempt=1, slot="cpu/0").model_dump_json())
    writer.close()
    assert reduce_run_dir(run_dir, plan).interleaved == name
