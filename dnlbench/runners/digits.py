"""The 1,797 handwritten digits that scikit-learn ships: 8×8 pixels with 17 gray levels, in 10 classes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


def read_digits() -> tuple[Array, Array]:
    """Return images of shape (1797, 8, 8) with gray levels 0 to 16, and their classes, like `sklearn.datasets.load_digits`.

    The function reads scikit-learn's data file: importing scikit-learn takes longer than a small run.
    """
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz" if package and package.origin else None
    if file is None or not file.exists():  # other versions may store it elsewhere
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images, digits.target
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def load_digit_images() -> tuple[Tensor, Tensor]:
    """Return all 1,797 digits in [0, 1], float64, shape (1797, 8, 8), and their labels."""
    images, labels = read_digits()
    return torch.from_numpy(images) / 16, torch.from_numpy(labels).long()
