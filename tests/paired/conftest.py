"""Fixtures for paired benchmarks: sessions that are not started, and engines without processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dnlbench.engine.request import RunRequest
from dnlbench.events import DataInfo, Prepared
from dnlbench.machine import Slot
from dnlbench.paired import session
from dnlbench.paired.engine import RunEnd
from dnlbench.paired.interpreter import Interpreter, find_interpreter
from dnlbench.paired.schedule import Key, Role
from dnlbench.paired.session import Session
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, save_profile
from dnlbench.store import Execution, RunDir
from tests.conftest import request_for

EXECUTION = Execution(device_kind="cpu", threads=1, pack_size=1, torch="2", machine="m", source="s")


@pytest.fixture
def make_session(tmp_path: Path, slot: Slot) -> Callable[[Plan], Session]:
    def make(plan: Plan) -> Session:
        return Session(
            request=request_for(plan, device="cpu", jobs=1, threads=1, pack=1),
            base=find_interpreter(None),
            base_settings=("train.lr=0.5",),
            slots=(slot,),
            run_dir=tmp_path / "rd",
            base_run_dir=tmp_path / "rd-base",
            out=tmp_path / "out.json",
            base_out=tmp_path / "out-base.json",
        )

    return make


@dataclass
class MadeUp:
    """Properties of fake engines, and the groups of runs that they got."""

    make_profile: Callable[..., Profile]
    data: dict[Role, str] = field(default_factory=dict)
    rates: dict[Role, float] = field(default_factory=dict)
    failing: Role | None = None
    groups: list[tuple[Role, list[int]]] = field(default_factory=list)
    """Role and seeds."""


class FakeEngine:
    """Replace a `PairedEngine`; all runs end immediately."""

    def __init__(self, made_up: MadeUp, name: Role, request: RunRequest) -> None:
        assert request.run_dir is not None
        self.name = name
        self.run_dir = RunDir(request.run_dir)
        self.exit_code: int | None = None
        self._made_up = made_up
        self._request = request
        self._status = "failed" if made_up.failing == name else "ok"
        self.slots, self.pack_size = request.jobs or 0, 1
        sha256 = made_up.data.get(name, "the same")
        data = DataInfo(name="digits", sha256=sha256, samples=150, input_shape=(1, 8, 8), classes=10)
        self.prepared = Prepared(data=data, torch="2", device_name="A", warnings=("a/Thumbs.db is left out",))
        self.waiting: dict[Key, str] = {}

    @property
    def has_saved(self) -> bool:
        return self.exit_code in (0, 1)

    def prepare(self) -> None:
        self.run_dir.begin(self._request.plan, EXECUTION)
        self.waiting = self.run_dir.read_run_ids()

    def run_group(self, keys: Sequence[Key]) -> Iterator[RunEnd]:
        self._made_up.groups.append((self.name, [seed for *_, seed in keys]))
        for key in keys:
            del self.waiting[key]
            yield RunEnd(key=key, status=self._status, seconds=1.0, samples_per_s=None)

    def finish(self) -> None:
        losses: dict[tuple[str, int], list[float]] = {}
        for network, depth, seed in self.run_dir.read_run_ids():
            losses.setdefault((network, depth), []).append(0.3 + 0.1 * seed)
        profile = self._made_up.make_profile(
            losses,
            rate=self._made_up.rates.get(self.name, 1000.0),
            status=self._status,
            interleaved=self._request.session,
            spec=self._request.plan.spec.model_dump(mode="json"),
        )
        save_profile(profile, self._request.out)
        self.exit_code = int(self._status == "failed")

    def interrupt(self) -> None:
        """Do nothing: the fake engine is idle."""

    def end(self) -> None:
        if self.exit_code is None:
            self.exit_code = 130


@pytest.fixture
def made_up(make_profile: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    """Use fake engines in sessions of this test."""
    properties = MadeUp(make_profile)

    def create(name: Role, request: RunRequest, interpreter: Interpreter) -> FakeEngine:
        return FakeEngine(properties, name, request)

    monkeypatch.setattr(session, "PairedEngine", create)
    return properties
