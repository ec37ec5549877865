"""The noise floor against its definition, and where it is kept."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scipy import stats

from dnlbench.errors import ConfigurationError
from dnlbench.noise import Floor, NoiseFile, known_floors, noise_floor

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


def test_the_next_figure_of_identical_code_is_within_it_95_times_in_100() -> None:
    source, trials = random.Random(0), 20_000
    within = 0
    for _ in range(trials):
        floor = noise_floor([source.gauss(0, 0.01) for _ in range(6)])
        within += abs(source.gauss(0, 0.01)) <= math.log1p(floor)
    assert within / trials == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / trials))


def test_it_is_kept_by_machine(own_cache: Path) -> None:
    assert known_floors("one") == {}
    other = FLOOR.model_copy(update={"floors": {"samples_per_s": 0.5}})
    NoiseFile().put("one", other)
    NoiseFile().put("two", other)
    NoiseFile().put("one", FLOOR)
    assert NoiseFile().get("one") == FLOOR
    assert known_floors("one") == {"samples_per_s": 0.02, "peak_memory_bytes": 0.0}
    assert known_floors("two") == {"samples_per_s": 0.5}
    assert (own_cache / "noise.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"machines": {"one": {"floors": 1}}}', b"\xff"])
def test_a_file_that_cannot_be_read_is_as_good_as_none(own_cache: Path, content: bytes) -> None:
    (own_cache / "noise.json").write_bytes(content)
    assert known_floors("one") == {}
    NoiseFile().put("one", FLOOR)
    assert NoiseFile().get("one") == FLOOR


def test_what_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        NoiseFile(tmp_path / "file" / "noise.json").put("one", FLOOR)
