"""Shrunk variances of seeds."""

from __future__ import annotations

import numpy as np
import pytest

from dnlbench.stats.noise import LEAST, noise_of

DEPTHS = (2, 4, 8, 16, 32)


def drawn(sd: list[float], seeds: int, random: np.random.Generator) -> list[list[float]]:
    return [np.exp(each * random.standard_normal(seeds)).tolist() for each in sd]


def test_variances_follow_the_trend_of_the_noise_and_are_steadier_than_single_ones() -> None:
    random, sd = np.random.default_rng(2), np.geomspace(0.023, 0.164, 5)
    found, single = [], []
    for _ in range(200):
        samples = drawn(sd.tolist(), 3, random)
        noise = noise_of(DEPTHS, samples)
        assert noise is not None
        assert noise.freedom == 9
        found.append(noise.variances)
        single.append([np.var(sample, ddof=1) for sample in samples])
    assert np.mean(found, axis=0) == pytest.approx(sd**2, rel=0.25)
    assert np.mean(np.std(found, axis=0) / np.std(single, axis=0)) < 0.75


def test_one_noisy_depth_keeps_most_of_the_trend() -> None:
    """(8 v + 2 s²) / 10 with v between the variances."""
    samples = [[1 - d, 1.0, 1 + d] for d in (0.01, 0.01, 0.1, 0.01, 0.01)]
    noise = noise_of(DEPTHS, samples)
    assert noise is not None
    assert 0.2 * 0.01 < noise.variances[2] < 0.01
    assert noise.variances[2] == max(noise.variances)


def test_seeds_that_agree_in_all_digits_have_the_least_variance() -> None:
    noise = noise_of(DEPTHS, [[1.0, 1.0]] * 5)
    assert noise is not None
    assert set(noise.variances) == {LEAST}


@pytest.mark.parametrize("counts", [[1, 1, 1, 1, 1], [2, 1, 1, 1, 1]])
def test_too_few_seeds_have_no_noise(counts: list[int]) -> None:
    assert noise_of(DEPTHS, [[1.0 + 0.01 * seed for seed in range(count)] for count in counts]) is None
