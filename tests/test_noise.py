"""The noise floor against its definition, and where it is kept."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scipy import stats

from dnlbench.errors import ConfigurationError
from dnlbench.machine import Node
from dnlbench.noise import Conditions, Floor, NoiseFile, known_floors, noise_floor
from dnlbench.profiles import Profile
from tests.conftest import MACHINE

MakeProfile = Callable[..., Profile]
HERE = Conditions(fingerprint="one", device_kind="cpu", threads=1)
FLOOR = Floor(
    measured=datetime(2026, 11, 20, tzinfo=UTC),
    sweep="calibration",
    rounds=3,
    networks=("densenet",),
    device="cpu",
    threads=1,
    torch="2.11",
    floors={"samples_per_s": 0.02, "peak_memory_bytes": 0.0},
)


def test_it_is_the_end_of_a_prediction_interval_around_zero() -> None:
    assert noise_floor([0.0, 0.0]) == 0.0
    assert noise_floor([-0.01]) == pytest.approx(math.exp(12.7062 * 0.01) - 1, rel=1e-5)
    assert noise_floor([0.01, -0.02, 0.03]) == pytest.approx(
        math.exp(stats.t.ppf(0.975, 3) * math.sqrt((1 + 4 + 9) / 3) / 100) - 1, rel=1e-12
    )


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("rounds", "spreads", "common", "exact"),
    [
        (3, [1.0], 0.0, True),
        (3, [1.0, 1.0], 1.0, True),  # what is common to a session makes no more of it than one figure
        (2, [1.0, 1.0], 0.7, False),
        (3, [1.0, 1.0, 1.0, 1.0], 0.0, False),
        (3, [1.0, 3.0], 0.3, False),
        (30, [1.0, 1.0], 0.0, False),
    ],
)
def test_identical_code_stays_within_it_in_19_of_20_sessions(
    rounds: int, spreads: list[float], common: float, exact: bool
) -> None:
    """Of the networks' variances the share ``common`` is that of the session."""
    source, trials = random.Random(0), 10_000

    def session() -> float:
        shared = source.gauss(0, 0.01)
        own = [source.gauss(0, 0.01) for _ in spreads]
        mixed = (math.sqrt(common) * shared + math.sqrt(1 - common) * each for each in own)
        return max(abs(spread * x) for spread, x in zip(spreads, mixed, strict=True))

    within = sum(session() <= math.log1p(noise_floor([session() for _ in range(rounds)])) for _ in range(trials))
    error = 4 * math.sqrt(0.95 * 0.05 / trials)
    assert within / trials >= 0.95 - error
    if exact:
        assert within / trials <= 0.95 + error


def test_it_is_kept_by_machine_device_and_threads(own_cache: Path) -> None:
    others = [
        FLOOR.model_copy(update=change) for change in ({"threads": 8}, {"device": "cuda:1"}, {"device": "cuda:0"})
    ]
    for floor in others:
        NoiseFile().put("one", floor)
    NoiseFile().put("two", others[0])
    assert NoiseFile().get(HERE) is None
    NoiseFile().put("one", FLOOR)
    assert NoiseFile().get(HERE) == FLOOR
    assert NoiseFile().get(Conditions(fingerprint="one", device_kind="cpu", threads=8)) == others[0]
    assert NoiseFile().get(Conditions(fingerprint="one", device_kind="cuda", threads=1)) == others[2]
    assert NoiseFile().of_machine("one") == [others[0], others[2], FLOOR]
    assert NoiseFile().of_machine("two") == [others[0]]
    assert (own_cache / "noise.json").exists()


def test_a_profile_has_the_floors_of_where_its_runs_were(make_profile: MakeProfile) -> None:
    on_cpu = make_profile({("densenet", 2): [0.3, 0.4]})
    first, second = on_cpu.runs
    on_gpu = on_cpu.model_copy(
        update={"runs": tuple(run.model_copy(update={"device": "cuda:3"}) for run in on_cpu.runs)}
    )
    both = on_cpu.model_copy(update={"runs": (first, second.model_copy(update={"threads": 2}))})
    unknown = on_cpu.model_copy(update={"runs": (first.model_copy(update={"device": None, "threads": None}), second)})
    assert known_floors(on_cpu) == {}
    NoiseFile().put(MACHINE.fingerprint, FLOOR)
    assert known_floors(on_cpu) == known_floors(unknown) == {"samples_per_s": 0.02, "peak_memory_bytes": 0.0}
    assert known_floors(on_gpu) == {}
    NoiseFile().put(MACHINE.fingerprint, FLOOR.model_copy(update={"threads": 2, "floors": {"samples_per_s": 0.5}}))
    assert known_floors(on_cpu)["samples_per_s"] == 0.02
    assert known_floors(both) == {"samples_per_s": 0.5, "peak_memory_bytes": 0.0}


def test_a_sweep_on_a_cluster_is_not_judged_by_the_machine_it_was_steered_from(make_profile: MakeProfile) -> None:
    alone = make_profile({("densenet", 2): [0.3, 0.4]})
    node = Node(name="n", cpu="x", cores=1, memory_bytes=1, python="3", torch="2", fingerprint="elsewhere")
    first, second = alone.runs
    cluster = alone.model_copy(update={"runs": tuple(run.model_copy(update={"node": node}) for run in alone.runs)})
    partly = alone.model_copy(update={"runs": (first, second.model_copy(update={"node": node}))})
    NoiseFile().put(MACHINE.fingerprint, FLOOR)
    assert known_floors(cluster) == {}
    assert known_floors(partly)["samples_per_s"] == 0.02
    NoiseFile().put("elsewhere", FLOOR.model_copy(update={"floors": {"samples_per_s": 0.3}}))
    assert known_floors(cluster) == {"samples_per_s": 0.3}
    assert known_floors(partly)["samples_per_s"] == 0.3


def test_a_floor_that_an_earlier_version_kept_by_machine_alone_is_known(own_cache: Path) -> None:
    old = {"schema_": 1, "machines": {"one": FLOOR.model_dump(mode="json")}}
    (own_cache / "noise.json").write_text(json.dumps(old))
    assert NoiseFile().get(HERE) == FLOOR
    assert NoiseFile().get(Conditions(fingerprint="one", device_kind="cuda", threads=1)) is None
    later = FLOOR.model_copy(update={"rounds": 7})
    NoiseFile().put("one", later)
    assert NoiseFile().of_machine("one") == [later]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"machines": {"one": {"floors": 1}}}', b"\xff"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(own_cache: Path, content: bytes) -> None:
    (own_cache / "noise.json").write_bytes(content)
    assert NoiseFile().get(HERE) is None
    NoiseFile().put("one", FLOOR)
    assert NoiseFile().get(HERE) == FLOOR


def test_what_cannot_be_kept_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DNLBENCH_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigurationError, match="cannot store the measurement"):
        NoiseFile().put("one", FLOOR)
