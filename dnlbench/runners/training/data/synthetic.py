"""Synthetic images, which need no files."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dnlbench.runners.training.data.split import Loaded, choose, empty_images, make_split
from dnlbench.studies.base import InputShape
from dnlbench.studies.training.spec import DataSettings

CHUNK_BYTES = 2**24
"""Memory of random numbers drawn at a time. Drawing takes eight bytes for each byte of an image."""


def make_synthetic(settings: DataSettings, training: bool) -> Loaded:
    """Create images with a random pattern for each class plus random noise."""
    assert settings.known_input is not None
    shape, classes = settings.known_input
    samples = settings.samples or 1024
    in_training = settings.reads_training_files(training=training)
    chosen = choose(samples, settings, training=training)
    labels = chosen % classes
    images = empty_images(len(chosen), shape, settings)
    patterns = empty_images(min(classes, samples), shape, settings)
    for first, values in _draw(len(patterns), shape, seed=0):
        patterns[first : first + len(values)] = values
    for first, noise in _draw(samples, shape, seed=1 if in_training else 2):
        begin, end = np.searchsorted(chosen, (first, first + len(noise)))
        images[begin:end] = (patterns[labels[begin:end]] + 3 * noise[chosen[begin:end] - first]) // 4
    return Loaded(split=make_split(images, labels), classes=classes)


def _draw(count: int, shape: InputShape, *, seed: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield arrays (n, C, H, W) of integers from 0 to 255, each with the index of its first image.

    The numbers do not depend on ``CHUNK_BYTES``.
    """
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK_BYTES // (8 * math.prod(shape)))
    for first in range(0, count, rows):
        yield first, random.integers(0, 256, (min(rows, count - first), *shape))
