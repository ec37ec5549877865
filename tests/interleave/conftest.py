"""Sessions that are never begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dnlbench.interleave import Session, find_interpreter
from dnlbench.machine import Slot
from dnlbench.plan import Plan
from dnlbench.sweep import Request


@pytest.fixture
def make_session(tmp_path: Path, slot: Slot) -> Callable[[Plan], Session]:
    def make(plan: Plan) -> Session:
        return Session(
            request=Request(plan=plan, device="cpu", jobs=1, threads=1, pack=1),
            spec="tiny.toml",
            settings=("train.epochs=1",),
            base=find_interpreter(None),
            base_settings=("train.lr=0.5",),
            slots=(slot,),
            run_dir=tmp_path / "rd",
            base_run_dir=tmp_path / "rd-base",
            out=tmp_path / "out.json",
            base_out=tmp_path / "out-base.json",
        )

    return make
