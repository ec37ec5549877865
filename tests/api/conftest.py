"""A small sweep, run once with the Python API in this process."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import dnlbench

SPEC = {
    "name": "tiny",
    "sweep": {"networks": ("densenet",), "depths": range(1, 3), "seeds": [0, 1]},
    "network": {"blocks": 2, "growth_rate": 3, "window": None},
    "data": {"limit": 150, "root": Path("data")},
    "train": {"epochs": 1, "batch_size": 32},
}
"""The spec of `tests.conftest.TINY` as dicts, with one network and one epoch."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="session")
def sweep(folder: Path, caches: Path) -> dnlbench.Profile:
    """The profile of `SPEC`, with the run directory ``rd`` and the file ``out.json`` in the folder."""
    with contextlib.chdir(folder):
        return dnlbench.run(
            SPEC, out="out.json", run_dir="rd", device="cpu", executor="inline", jobs=1, threads=1, quiet=True
        )
