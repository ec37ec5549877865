"""Images that nothing has to be read for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnlbench.runners.training.data.split import Loaded, choose, empty_images, make_split
from dnlbench.studies.base import InputShape
from dnlbench.studies.training.spec import DataSettings

CHUNK_BYTES = 2**24
"""Random numbers that are drawn at a time: drawing takes eight bytes for each byte that is kept."""


def make_synthetic(settings: DataSettings, training: bool) -> Loaded:
    """A random pattern for each class under random noise: something to learn."""
    assert settings.known_input is not None, "it is made to measure"
    shape, classes = settings.known_input
    samples = settings.samples or 1024
    chosen = choose(samples, settings, training=training)
    labels = chosen % classes
    images = empty_images(len(chosen), shape, settings)
    patterns = empty_images(min(classes, samples), shape, settings)
    for first, drawn in _draw(len(patterns), shape, seed=0):
        patterns[first : first + len(drawn)] = drawn
    for first, noise in _draw(samples, shape, seed=1 if training else 2):
        begin, end = np.searchsorted(chosen, (first, first + len(noise)))
        images[begin:end] = (patterns[labels[begin:end]] + 3 * noise[chosen[begin:end] - first]) // 4
    return Loaded(split=make_split(images, labels), classes=classes)


def _draw(count: int, shape: InputShape, *, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Arrays (n, C, H, W) of integers from 0 to 255, each with the index of its first; the same whatever ``CHUNK_BYTES`` is."""
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK_BYTES // (8 * math.prod(shape)))
    for first in range(0, count, rows):
        yield first, random.integers(0, 256, (min(rows, count - first), *shape))
