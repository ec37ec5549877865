"""The rounds of a calibration, with sessions that are made up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from dnlbench.errors import ConfigurationError, EngineError
from dnlbench.noise import Floor, noise_floor
from dnlbench.paired import calibration
from dnlbench.paired.session import Session, SessionEnd
from dnlbench.plan import Plan
from dnlbench.profiles import Profile, save_profile
from dnlbench.spec import read_spec

MakePlan = Callable[..., Plan]
MakeProfile = Callable[..., Profile]
MakeSession = Callable[[Plan], Session]
Round = tuple[Profile, Profile]
"""The base's profile and the head's."""


@pytest.fixture
def calibrate(make_session: MakeSession, make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Floor]:
    def run(rounds: Sequence[Round]) -> Floor:
        left = list(rounds)

        def run_session(session: Session, on_message: Callable[[str], None]) -> SessionEnd:
            base, head = left.pop(0)
            save_profile(base, session.base_out)
            save_profile(head, session.out)
            return SessionEnd(saved=True, interrupted=False, failed=False)

        monkeypatch.setattr(calibration, "run_session", run_session)
        return calibration.calibrate(make_session(make_plan()), len(rounds), lambda message: None)

    return run


@pytest.fixture
def make_one(make_profile: MakeProfile) -> Callable[..., Profile]:
    """A side whose two networks have the given rates."""

    def make(*rates: float, status: str = "ok") -> Profile:
        losses = [0.3, 0.4, 0.5]
        parts = [
            make_profile({(network, 2): losses}, rate=rate, interleaved="one", status=status)
            for network, rate in zip(("densenet", "dense-gaussian"), rates, strict=True)
        ]
        return parts[0].model_copy(update={"runs": tuple(run for part in parts for run in part.runs)})

    return make


def test_of_each_round_the_network_that_differs_most_counts(
    calibrate: Callable[..., Floor], make_one: Callable[..., Profile]
) -> None:
    base = make_one(1000.0, 1000.0)
    floor = calibrate([(base, make_one(1010.0, 970.0)), (base, make_one(1020.0, 1001.0))])
    assert floor.floors["samples_per_s"] == pytest.approx(noise_floor([math.log(0.97), math.log(1.02)]), rel=1e-9)
    assert floor.floors["peak_memory_bytes"] == 0.0
    assert (floor.rounds, floor.networks) == (2, ("densenet", "dense-gaussian"))


@pytest.mark.parametrize("role", ["base", "head"])
def test_runs_of_either_side_that_fail_leave_no_floor(
    calibrate: Callable[..., Floor], make_one: Callable[..., Profile], role: str
) -> None:
    well, ill = make_one(1000.0, 1000.0), make_one(1000.0, 1000.0, status="failed")
    with pytest.raises(EngineError, match=f"densenet-L2-s0-00000000 of the {role} ended as failed: Made: made up"):
        calibrate([(ill, well) if role == "base" else (well, ill)])


def test_a_study_of_which_nothing_depends_on_the_machine_has_no_floor(make_session: MakeSession) -> None:
    session = make_session(Plan(read_spec("relu-limit", ())))
    with pytest.raises(ConfigurationError, match="study 'relu-limit': has no noise floor, because its quantities"):
        calibration.calibrate(session, 1, lambda message: None)
